//! Durations as people write them: `15s`, `1m 30s`, `500ms`, `1h`, `30d`.
//!
//! A bare number is refused: whether `15` means seconds or milliseconds is the kind of question that configuration
//! files should not leave open. The serde halves sit here too, so that a section holds plain [`Duration`]s.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// The units, longest first, each in milliseconds. The order is also the one in which they may stand.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A text that is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as \"500ms\", \"15s\", \"1m 30s\", \"1h\" or \"30d\"")]
pub struct InvalidDuration;

/// Reads whole numbers with the units `d`, `h`, `m`, `s` and `ms`, longest unit first, each at most once; white space
/// between them is free.
///
/// # Errors
/// If the text has any other form, or is longer than 2⁶⁴ milliseconds.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let mut rest = text.trim();
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(InvalidDuration);
    }
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after.trim_start(), |c| !c.is_ascii_alphabetic());
        let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
        // The iterator moves on, so a unit that comes twice or out of order is not found again.
        let (_, millis) = units
            .find(|(name, _)| *name == unit)
            .ok_or(InvalidDuration)?;
        total = number
            .checked_mul(*millis)
            .and_then(|part| total.checked_add(part))
            .ok_or(InvalidDuration)?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// Writes what [`parse`] reads, to the millisecond: `1m 30s`; zero is `0s`.
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            parts.push(format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts.join(" ")
    }
}

fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

/// For `#[serde(with = "duration")]` on one duration.
pub(super) fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&format(*value))
}

/// See [`serialize`].
pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(input)?).map_err(D::Error::custom)
}

/// For `#[serde(with = "duration::optional")]` on one that may be missing.
pub(super) mod optional {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, out),
            None => out.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::deserialize(input).map(Some)
    }
}

/// For `#[serde(with = "duration::list")]` on several.
pub(super) mod list {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(values: &[Duration], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(values.iter().map(|value| format(*value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Vec<Duration>, D::Error> {
        Vec::<String>::deserialize(input)?
            .iter()
            .map(|text| parse(text).map_err(D::Error::custom))
            .collect()
    }
}
