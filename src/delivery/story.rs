//! A notification and its deliveries as JSON tells them, over HTTP and on the command line alike.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Channel, Delivery, Held, Outcome, Record, Status};
use crate::audience::Recipient;
use crate::log::Epoch;
use crate::notification::Kind;

/// A notification, how it stands, and its deliveries.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Story<'a> {
    notification_id: Uuid,
    /// None while it is held back.
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    kind: Kind,
    status: Status,
    publisher: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelled_by: Option<&'a str>,
    /// The public part: what its receivers see.
    pub notification: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<Told<'a>>>,
}

impl<'a> Story<'a> {
    /// Without the deliveries.
    pub fn brief(record: &'a Record, epoch: &Epoch) -> Self {
        let entry = &record.entry;
        Self {
            notification_id: entry.id,
            event_id: Some(epoch.event_id(entry.position).to_string()),
            reference: record.reference.as_deref(),
            kind: entry.kind,
            status: record.status(),
            publisher: &record.publisher,
            created_at: entry.created_at.to_string(),
            deliver_at: None,
            expires_at: entry.expires_at.map(|moment| moment.to_string()),
            cancelled_at: record.cancelled.as_ref().map(|it| it.at.to_string()),
            cancelled_by: record.cancelled.as_ref().map(|it| &*it.by),
            // It was written as JSON, and checked when it was.
            notification: serde_json::from_str(&entry.body).unwrap_or(RawValue::NULL),
            deliveries: None,
        }
    }

    /// Of one that is held back, or was cancelled while it was: nothing became of it yet for anybody.
    pub fn held(held: &'a Held) -> Self {
        Self {
            notification_id: held.id,
            event_id: None,
            reference: held.reference.as_deref(),
            kind: held.kind,
            status: match held.cancelled {
                Some(_) => Status::Cancelled,
                None => Status::Scheduled,
            },
            publisher: &held.publisher,
            created_at: held.accepted_at.to_string(),
            deliver_at: Some(held.deliver_at.to_string()),
            expires_at: held.expires_at.map(|moment| moment.to_string()),
            cancelled_at: held.cancelled.as_ref().map(|it| it.at.to_string()),
            cancelled_by: held.cancelled.as_ref().map(|it| &*it.by),
            notification: serde_json::from_str(&held.body).unwrap_or(RawValue::NULL),
            deliveries: None,
        }
    }

    /// The same, with a list of deliveries that has nothing in it yet.
    pub fn held_whole(held: &'a Held) -> Self {
        Self {
            deliveries: Some(Vec::new()),
            ..Self::held(held)
        }
    }

    /// With each recipient.
    pub fn whole(record: &'a Record, epoch: &Epoch) -> Self {
        let deliveries = record.deliveries.iter();
        Self {
            deliveries: Some(deliveries.map(|d| Told::new(d, epoch)).collect()),
            ..Self::brief(record, epoch)
        }
    }
}

/// A delivery.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told<'a> {
    notification_id: Uuid,
    event_id: String,
    recipient: Addressee<'a>,
    channel: Channel,
    outcome: Outcome,
    attempts: u32,
    reason: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<Streams>,
}

#[derive(Debug, Serialize)]
struct Streams {
    live: u32,
    behind: u32,
}

impl<'a> Told<'a> {
    /// As it stands.
    pub fn new(delivery: &'a Delivery, epoch: &Epoch) -> Self {
        Self {
            notification_id: delivery.notification,
            event_id: epoch.event_id(delivery.position).to_string(),
            recipient: Addressee::new(&delivery.recipient),
            channel: delivery.channel,
            outcome: delivery.outcome,
            attempts: delivery.attempts,
            reason: &delivery.reason,
            created_at: delivery.created_at.to_string(),
            changed_at: delivery.changed_at.map(|moment| moment.to_string()),
            next_at: delivery.next_at.map(|moment| moment.to_string()),
            streams: delivery.reach.map(|reach| Streams {
                live: reach.live,
                behind: reach.behind,
            }),
        }
    }
}

/// A recipient.
#[derive(Debug, Serialize)]
pub(crate) struct Addressee<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> Addressee<'a> {
    pub(crate) fn new(recipient: &'a Recipient) -> Self {
        let (kind, id) = match recipient {
            Recipient::User(user) => ("user", Some(&**user)),
            Recipient::Role(role) => ("role", Some(&**role)),
            Recipient::Everyone => ("everyone", None),
        };
        Self { kind, id }
    }
}
