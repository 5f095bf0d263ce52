//! Whatever comes in, at random: a cursor never fails, what a draft is let through with is what its rules say, and a
//! credential that was tampered with opens nothing.
//!
//! `CAMPANILE_TEST_CASES` says how many of each are tried. The writer of streams is tried in `tests/browser/wire.test.mjs`,
//! against a parser that others wrote.

mod credentials;

use campanile::clock::Timestamp;
use campanile::log::{Cursor, Epoch, Position};
use campanile::notification::{
    Draft, Kind, MAX_DETAILS_BYTES, MAX_LINK_BYTES, MAX_MESSAGE_CHARS, MAX_ROLES, MAX_TITLE_CHARS,
    MAX_USERS, Validated,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::DRAFT_FIELDS;

fn settings() -> ProptestConfig {
    let asked = std::env::var("CAMPANILE_TEST_CASES").ok();
    ProptestConfig {
        cases: asked.map_or(2_000, |asked| asked.parse().expect("a number")),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Texts that begin right and go wrong, and texts that are nothing of the kind.
fn cursors() -> impl Strategy<Value = String> {
    let epoch = Epoch::from_text("k3f9aaaa").expect("an epoch");
    prop_oneof![
        any::<String>(),
        any::<u64>().prop_map(move |place| epoch.event_id(Position(place)).to_string()),
        "k3f9aaaa-[0-9+ -]{0,24}",
        "[a-z0-9]{0,9}-?[0-9]{0,22}",
        vec(any::<u8>(), 0..40).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

/// Texts of every kind: long, empty, with controls, combining marks, right-to-left marks and what ends lines.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{2028}\u{2029}\u{200e}\u{202e}\u{301}e]{0,12}",
        (any::<char>(), 0..6_000_usize).prop_map(|(letter, many)| letter.to_string().repeat(many)),
        Just("javascript:alert(1)".to_owned()),
        Just("https://example.com/a?b#c".to_owned()),
        Just("2031-01-01T00:00:00Z".to_owned()),
        Just("24h".to_owned()),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        texts().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!("high")),
        Just(json!("always")),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((texts(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn drafts() -> impl Strategy<Value = Value> {
    // Each has a message that is right, and more fields of any kind.
    let names: Vec<_> = DRAFT_FIELDS
        .into_iter()
        .filter(|name| *name != "message")
        .collect();
    let field = (prop::sample::select(names), values());
    (
        texts(),
        vec(field, 0..5),
        vec(texts(), 0..40),
        any::<bool>(),
    )
        .prop_map(|(message, fields, users, named)| {
            let mut draft: Map<String, Value> = Map::new();
            draft.insert("message".to_owned(), message.into());
            if named {
                draft.insert("targetUserIds".to_owned(), users.into());
            } else {
                draft.insert("everyone".to_owned(), true.into());
            }
            draft.extend(
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value)),
            );
            Value::Object(draft)
        })
}

/// What everybody who gets it relies on.
fn keeps_its_promises(validated: &Validated) {
    let (body, recipients) = match validated {
        Validated::Notification(it) => (&it.body, it.audience.recipients()),
        Validated::Ephemeral(it) => (&it.body, it.audience.recipients()),
    };
    assert!(!recipients.is_empty() && recipients.len() <= MAX_USERS + MAX_ROLES + 1);
    assert!(
        !body.contains(['\n', '\r', '\u{0}']),
        "a line of a stream: {body:?}"
    );
    let public: Value = serde_json::from_str(body).expect("JSON");
    let chars = |field: &str| {
        public[field]
            .as_str()
            .map_or(0, |text| text.chars().count())
    };
    let bytes = |field: &str| public[field].as_str().map_or(0, str::len);
    assert!(
        (1..=MAX_MESSAGE_CHARS).contains(&chars("message")),
        "{public}"
    );
    assert!(chars("title") <= MAX_TITLE_CHARS && bytes("details") <= MAX_DETAILS_BYTES);
    assert!(bytes("link") <= MAX_LINK_BYTES && !bytes_begin(&public["link"], "javascript"));
    for secret in [
        "targetUserId",
        "targetUserIds",
        "targetRoles",
        "idempotencyKey",
        "throttle",
        "publisher",
    ] {
        assert!(public[secret].is_null(), "{secret} is told: {public}");
    }
}

fn bytes_begin(value: &Value, word: &str) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.trim_start().to_lowercase().starts_with(word))
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_cursor_is_a_place_or_foreign_and_never_an_error(cursor in cursors()) {
        let epoch = Epoch::from_text("k3f9aaaa").expect("an epoch");
        match epoch.locate(&cursor) {
            // Another way of writing the number is the same place, and none is a place that nobody was told.
            Cursor::At(place) => {
                let digits = cursor.strip_prefix("k3f9aaaa-").expect("its epoch");
                prop_assert_eq!(digits.parse::<u64>().ok(), Some(place.0));
            }
            Cursor::Foreign => {}
            Cursor::None => prop_assert!(false, "there was one: {cursor:?}"),
        }
    }

    #[test]
    fn whatever_is_let_through_as_a_draft_keeps_its_promises(draft in drafts(), broadcast in any::<bool>()) {
        let kind = if broadcast { Kind::Broadcast } else { Kind::Notification };
        let text = draft.to_string();
        if let Ok(draft) = serde_json::from_str::<Draft>(&text)
            && let Ok(validated) = draft.validate(kind, "key:fuzz".into(), Timestamp::now())
        {
            keeps_its_promises(&validated);
        }
    }

    #[test]
    fn of_bytes_that_are_no_draft_nothing_comes(bytes in vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(draft) = serde_json::from_str::<Draft>(&text) {
            let validated = draft.validate(Kind::Notification, "key:fuzz".into(), Timestamp::now());
            prop_assert!(validated.is_err(), "{text:?}");
        }
    }
}
