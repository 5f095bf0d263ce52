//! The only place that reads the wall clock.
//!
//! Everything else is handed a [`Timestamp`], so that a rule about time can be read, and tested, as a rule about
//! numbers. Intervals inside one process (a stalled socket, a heartbeat) use [`std::time::Instant`], which no
//! administrator can set back.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// A date as HTTP writes it.
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// A moment in milliseconds since 1970-01-01T00:00:00Z.
///
/// Serialised as that number where it stands alone (the stream's `timestamp`); [`fmt::Display`] is RFC 3339 in UTC
/// with milliseconds, which is what JSON answers carry (`createdAt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last moment that [`fmt::Display`] can write: 9999-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// Now, by the machine's wall clock; a clock before 1970 reads as 1970.
    pub fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    /// From milliseconds since 1970; anything past [`Timestamp::MAX`] becomes that.
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment and `duration` later, at most [`Timestamp::MAX`].
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// `duration` before this moment, at least 1970.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Reads a date as HTTP writes it (`Sun, 06 Nov 1994 08:49:37 GMT`; RFC 9110, 5.6.7).
    ///
    /// # Errors
    /// If the text is not one, or names a moment before 1970.
    pub fn parse_http_date(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment = PrimitiveDateTime::parse(text, HTTP_DATE).map_err(|_| InvalidTimestamp)?;
        let seconds = u64::try_from(moment.assume_utc().unix_timestamp());
        let millis = seconds.ok().and_then(|seconds| seconds.checked_mul(1000));
        millis.map(Self::from_millis).ok_or(InvalidTimestamp)
    }

    /// As HTTP writes a date (RFC 9110, 5.6.7).
    pub fn http_date(self) -> String {
        self.moment().format(HTTP_DATE).unwrap_or_default()
    }

    fn moment(self) -> OffsetDateTime {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Reads RFC 3339 (`2026-12-01T09:00:00Z`, any offset).
    ///
    /// # Errors
    /// If the text is not RFC 3339, or names a moment before 1970.
    pub fn parse_rfc3339(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        let millis = moment.unix_timestamp_nanos() / 1_000_000;
        Ok(Self::from_millis(
            u64::try_from(millis).map_err(|_| InvalidTimestamp)?,
        ))
    }
}

/// A text that is not a moment in RFC 3339, or one before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time in RFC 3339, such as 2026-12-01T09:00:00Z")]
pub struct InvalidTimestamp;

impl fmt::Display for Timestamp {
    /// Digit by digit: it stands in each event and each answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = self.moment();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |place: Range<usize>, mut number: u32| {
            for digit in text[place].iter_mut().rev() {
                *digit += (number % 10) as u8;
                number /= 10;
            }
        };
        put(0..4, moment.year().unsigned_abs());
        put(5..7, u8::from(moment.month()).into());
        put(8..10, moment.day().into());
        put(11..13, moment.hour().into());
        put(14..16, moment.minute().into());
        put(17..19, moment.second().into());
        put(20..23, (self.0 % 1000) as u32);
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_millis)
    }
}

/// For `#[serde(with = "rfc3339")]` on a moment that stands in an answer.
pub(crate) mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Timestamp;

    pub(crate) fn serialize<S: Serializer>(moment: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(moment)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
        read(&String::deserialize(input)?)
    }

    fn read<E: serde::de::Error>(text: &str) -> Result<Timestamp, E> {
        Timestamp::parse_rfc3339(text).map_err(E::custom)
    }

    /// The same where there may be none; beside `default` and `skip_serializing_if`.
    pub(crate) mod option {
        use super::*;

        pub(crate) fn serialize<S: Serializer>(
            moment: &Option<Timestamp>,
            out: S,
        ) -> Result<S::Ok, S::Error> {
            out.serialize_some(&moment.map(|moment| moment.to_string()))
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            input: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            let text = Option::<String>::deserialize(input)?;
            text.as_deref().map(read).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_and_reads_rfc_3339() {
        let moment = Timestamp::from_millis(1_795_219_200_007);
        assert_eq!(moment.to_string(), "2026-11-21T00:00:00.007Z");
        assert_eq!(
            Timestamp::parse_rfc3339("2026-11-21T01:00:00.007+01:00").map(Timestamp::as_millis),
            Ok::<_, InvalidTimestamp>(moment.as_millis())
        );
        for moment in [0, 951_868_799_999, Timestamp::MAX.0].map(Timestamp::from_millis) {
            let read = Timestamp::parse_rfc3339(&moment.to_string());
            assert_eq!(read, Ok(moment), "{moment}");
        }
    }

    #[test]
    fn reads_the_date_of_a_header() {
        let date = Timestamp::parse_http_date("Sat, 21 Nov 2026 00:00:00 GMT");
        let moment = Timestamp::from_millis(1_795_219_200_000);
        assert_eq!(date.map(Timestamp::as_millis), Ok(moment.as_millis()));
        assert!(Timestamp::parse_http_date("tomorrow").is_err());
    }
}
