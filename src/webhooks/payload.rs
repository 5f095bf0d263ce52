//! What stands in a webhook.
//!
//! `data` is written when the webhook is made, and kept: it says what had become of each recipient then, whatever is
//! pruned or changes later. Around it stand its type and the time of sending, so each try has its own text and signature.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Topic;
use crate::clock::Timestamp;
use crate::delivery::{Addressee, Delivery, Outcome};

#[derive(Serialize)]
struct Told<'a> {
    /// The public part: what receivers see.
    notification: &'a RawValue,
    recipients: Vec<Recipient<'a>>,
}

#[derive(Serialize)]
struct Recipient<'a> {
    #[serde(flatten)]
    addressee: Addressee<'a>,
    outcome: Outcome,
}

/// The `data` of what tells of a notification: its public part, and each recipient with what became of them.
pub(crate) fn recipients_and(body: &str, deliveries: &[Delivery]) -> String {
    let recipients = deliveries.iter().map(|delivery| Recipient {
        addressee: Addressee::new(&delivery.recipient),
        outcome: delivery.outcome,
    });
    written(&Told {
        // It was written as JSON, and checked when it was.
        notification: serde_json::from_str(body).unwrap_or(RawValue::NULL),
        recipients: recipients.collect(),
    })
}

/// The `data` of a test.
pub(crate) fn test(endpoint: Uuid) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Test {
        endpoint_id: Uuid,
        message: &'static str,
    }
    written(&Test {
        endpoint_id: endpoint,
        message: "This is a test webhook. It arrived.",
    })
}

/// The body of a webhook that is sent now.
pub(super) fn body(topic: Topic, now: Timestamp, data: &str) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: Topic,
        timestamp: String,
        data: &'a RawValue,
    }
    written(&Body {
        r#type: topic,
        timestamp: now.to_string(),
        data: serde_json::from_str(data).unwrap_or(RawValue::NULL),
    })
}

/// Texts, numbers and what is JSON already: there is nothing in it that serialisation could refuse.
fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
