//! What was likely sent twice: a publisher that tries again without a key sends the same once more, to the same, soon.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{DOUBLE_WITHIN, Double, Listed, MAX_NAMED};
use crate::clock::Timestamp;

/// What each has for itself, and what is not compared.
const ITS_OWN: [&str; 3] = ["notificationId", "createdAt", "reference"];

/// A notification that came without a key, as far as it is compared.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) id: Uuid,
    pub(crate) publisher: Arc<str>,
    pub(crate) at: Timestamp,
    /// Stands for the publisher, the audience and all that it says.
    same: u64,
}

impl Accepted {
    /// With its audience, and the public part as it is stored.
    pub(crate) fn new(
        id: Uuid,
        publisher: Arc<str>,
        at: Timestamp,
        audience: &str,
        body: &str,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        (&*publisher, audience).hash(&mut hasher);
        match serde_json::from_str::<Map<String, Value>>(body) {
            Ok(mut fields) => {
                fields.retain(|name, _| !ITS_OWN.contains(&name.as_str()));
                Value::Object(fields).to_string().hash(&mut hasher);
            }
            Err(_) => body.hash(&mut hasher),
        }
        Self {
            id,
            publisher,
            at,
            same: hasher.finish(),
        }
    }
}

/// Those that follow one like them within [`DOUBLE_WITHIN`]; the latest first.
pub(crate) fn doubles(mut accepted: Vec<Accepted>) -> Listed<Double> {
    accepted.sort_by_key(|one| (one.same, one.at, one.id));
    let again = |one: &Accepted, next: &Accepted| {
        one.same == next.same && next.at.since(one.at) <= DOUBLE_WITHIN
    };
    let mut found: Vec<Double> = accepted
        .chunk_by(again)
        .filter_map(|alike| match alike {
            [first, .., last] => Some(Double {
                notification_id: first.id,
                publisher: Arc::clone(&first.publisher),
                times: alike.len() as u64,
                first_at: first.at,
                last_at: last.at,
            }),
            _ => None,
        })
        .collect();
    found.sort_by_key(|double| std::cmp::Reverse((double.last_at, double.notification_id)));
    let count = found.len() as u64;
    found.truncate(MAX_NAMED);
    Listed {
        count,
        first: found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(number: u8, publisher: &str, seconds: u64, audience: &str, text: &str) -> Accepted {
        let body = format!(
            r#"{{"notificationId":"{number}","message":"{text}","createdAt":"{seconds}"}}"#
        );
        Accepted::new(
            Uuid::from_bytes([number; 16]),
            publisher.into(),
            Timestamp::from_millis(seconds * 1_000),
            audience,
            &body,
        )
    }

    #[test]
    fn the_same_to_the_same_within_a_minute_is_likely_a_double() {
        let found = doubles(vec![
            accepted(3, "key:a", 180, "u:1", "hello"),
            accepted(1, "key:a", 100, "u:1", "hello"),
            accepted(2, "key:a", 160, "u:1", "hello"),
        ]);
        let [double] = found.first.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!((found.count, double.times), (1, 3));
        assert_eq!(double.notification_id, Uuid::from_bytes([1; 16]));
        assert_eq!(double.last_at.since(double.first_at).as_secs(), 80);
    }

    #[test]
    fn another_publisher_audience_text_or_time_is_another_notification() {
        let one = || accepted(1, "key:a", 100, "u:1", "hello");
        for other in [
            accepted(2, "key:b", 100, "u:1", "hello"),
            accepted(2, "key:a", 100, "u:1\nu:2", "hello"),
            accepted(2, "key:a", 100, "u:1", "hello you"),
            accepted(2, "key:a", 161, "u:1", "hello"),
        ] {
            assert_eq!(doubles(vec![one(), other]), Listed::default());
        }
    }
}
