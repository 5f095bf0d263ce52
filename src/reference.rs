//! References: numbers for people, such as `CNC-1126-0001`, drawn here or brought by the publisher.
//!
//! A drawn one is a prefix, the month (MMYY) and a counter for both. Two that race get two numbers, because the counter is
//! read and moved in the transaction that makes the notification, and no number is ever given twice, because the table of
//! all that were given is unique and is never pruned.

use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;

/// The longest prefix, in characters.
pub const MAX_PREFIX_CHARS: usize = 16;
/// The longest reference that a publisher may bring, in characters.
pub const MAX_REFERENCE_CHARS: usize = 64;
/// How many digits a drawn number has at least; after 9999 it has more.
const DIGITS: usize = 4;

/// A reference as a draft asks for it: `{"prefix": "CNC"}` draws one, `"CNC-1126-0003"` brings one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ReferenceDraft {
    /// The next number for this prefix and the present month.
    Draw {
        /// 1 to [`MAX_PREFIX_CHARS`] ASCII letters and digits.
        prefix: String,
    },
    /// This one, if nobody has it.
    Bring(String),
}

/// A reference that has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Reference {
    /// The next number for this prefix.
    Draw(Arc<str>),
    /// This one.
    Bring(Arc<str>),
}

impl ReferenceDraft {
    /// Checks the prefix, or the whole.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<Reference, (&'static str, String)> {
        match self {
            Self::Draw { prefix } => {
                let fits = (1..=MAX_PREFIX_CHARS).contains(&prefix.len())
                    && prefix.bytes().all(|b| b.is_ascii_alphanumeric());
                if !fits {
                    let message =
                        format!("must be 1 to {MAX_PREFIX_CHARS} letters and digits of ASCII");
                    return Err(("reference.prefix", message));
                }
                Ok(Reference::Draw(prefix.as_str().into()))
            }
            Self::Bring(reference) => {
                let fits = (1..=MAX_REFERENCE_CHARS).contains(&reference.len())
                    && reference
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
                if !fits {
                    return Err((
                        "reference",
                        format!(
                            "must be 1 to {MAX_REFERENCE_CHARS} letters and digits of ASCII, -, _, . or /"
                        ),
                    ));
                }
                Ok(Reference::Bring(reference.as_str().into()))
            }
        }
    }
}

impl<'de> Deserialize<'de> for ReferenceDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Draw {
            prefix: String,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ReferenceDraft;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a reference, or an object with a prefix")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ReferenceDraft::Bring(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let Draw { prefix } = Draw::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ReferenceDraft::Draw { prefix })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A drawn reference in words: `CNC-1126-0001`.
pub(crate) fn drawn(prefix: &str, month: &str, number: u64) -> Arc<str> {
    format!("{prefix}-{month}-{number:0DIGITS$}").into()
}

/// The time zone in which months begin.
#[derive(Clone, Debug)]
pub struct Zone(jiff::tz::TimeZone);

impl Zone {
    /// From its name in the IANA database, such as `Europe/Paris`; `UTC`.
    ///
    /// # Errors
    /// [`UnknownZone`], if there is none of that name.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        jiff::tz::TimeZone::get(name)
            .map(Self)
            .map_err(|_| UnknownZone)
    }

    /// The month of a moment here: `1126` in November 2026.
    pub(crate) fn month(&self, moment: Timestamp) -> String {
        let millis = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
        let moment =
            jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let here = self.0.to_datetime(moment);
        format!("{:02}{:02}", here.month(), here.year().rem_euclid(100))
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(jiff::tz::TimeZone::UTC)
    }
}

/// A name that is no time zone's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time zone of the IANA database, such as \"UTC\" or \"Europe/Paris\"")]
pub struct UnknownZone;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_four_digits_until_it_needs_more() {
        assert_eq!(&*drawn("CNC", "1126", 1), "CNC-1126-0001");
        assert_eq!(&*drawn("CNC", "1126", 9_999), "CNC-1126-9999");
        assert_eq!(&*drawn("CNC", "1126", 10_000), "CNC-1126-10000");
    }

    #[test]
    fn a_month_begins_where_the_zone_says() {
        let moment = Timestamp::parse_rfc3339("2026-11-30T23:30:00Z").expect("a moment");
        let month = |zone| Zone::named(zone).expect("a zone").month(moment);
        assert_eq!(month("UTC"), "1126");
        assert_eq!(month("Europe/Paris"), "1226");
        assert_eq!(month("America/New_York"), "1126");
        assert_eq!(Zone::named("Mars/Olympus").err(), Some(UnknownZone));
    }
}
