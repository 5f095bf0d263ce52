//! What a publisher sends and what becomes of it: `Draft` → [`Draft::validate`] → [`Notification`] → [`Entry`]; or, if it
//! is not to be kept, [`Ephemeral`].
//!
//! A draft is checked once, here, at the edge. What comes out is the only type that the store takes, so nothing
//! unvalidated goes further: no identifier that could break an event stream's line, no audience that is empty by a
//! slip, no text beyond its limit. Who was addressed and the public part travel apart from the start, because those
//! who are told must not learn who else was.

mod validate;

pub(crate) use self::validate::LAPSED;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::audience::{Audience, identifier};
use crate::clock::Timestamp;
use crate::idempotency::Once;
use crate::log::Position;
use crate::reference::{Reference, ReferenceDraft};
use crate::throttle::{Throttle, ThrottleDraft};
use crate::webhooks::Choice;

/// The largest draft, in bytes of JSON.
pub const MAX_DRAFT_BYTES: usize = 64 * 1024;
/// The largest batch, in bytes of JSON or NDJSON.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The most drafts in one batch.
pub const MAX_BATCH_DRAFTS: usize = 1_000;
/// The most users that one draft may name.
pub const MAX_USERS: usize = 1_000;
/// The most roles that one draft may name.
pub const MAX_ROLES: usize = 32;
/// The longest `message`, in characters.
pub const MAX_MESSAGE_CHARS: usize = 4_096;
/// The longest `title`, in characters.
pub const MAX_TITLE_CHARS: usize = 256;
/// The longest `details`, in bytes.
pub const MAX_DETAILS_BYTES: usize = 16 * 1024;
/// The longest `link`, in bytes.
pub const MAX_LINK_BYTES: usize = 2_048;
/// The largest `data`, in bytes of JSON.
pub const MAX_DATA_BYTES: usize = 16 * 1024;
/// How far ahead `deliverAt` may lie.
pub const MAX_AHEAD: Duration = Duration::from_hours(366 * 24);
/// How deep `data` may nest: receivers parse it with parsers of their own, some of which recurse.
pub const MAX_DATA_DEPTH: usize = 64;

/// How urgent a notification is. The hub delivers all alike; the receiver's page decides what to make of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Low,
    /// The default.
    #[default]
    Medium,
    /// Look soon.
    High,
    /// Look now.
    Critical,
}

impl Severity {
    /// Every one, with its name, the least urgent first.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::Critical, "critical"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(severity, _)| *severity == self);
        found.map_or("", |(_, name)| name)
    }

    /// From its name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(severity, _)| *severity)
    }
}

/// Which promise a notification is published under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `create-and-notify`: stored for 30 days, put in the inbox, asked after until somebody took it.
    Notification,
    /// `broadcast` and `test`: through the same queue, kept an hour for streams that resume, no inbox.
    Broadcast,
}

/// What a publisher sends. Unknown fields are refused: a misspelt `targetRole` must not become a notification
/// for nobody, or for everyone.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Draft {
    /// One user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_user_id: Option<String>,
    /// Several users, at most [`MAX_USERS`] with `target_user_id`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_user_ids: Vec<String>,
    /// Roles, at most [`MAX_ROLES`]; a stream that matches several still gets it once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_roles: Vec<String>,
    /// Everyone, and then nobody by name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everyone: bool,
    /// The text; required.
    pub message: String,
    /// A headline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// More text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// How urgent; medium if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The part of the application it comes from, such as `orders`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// What happened, such as `new_order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action_type: Option<String>,
    /// Where a click leads: http, https or relative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Any JSON, passed on as it is (white space aside).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Held back until this moment (RFC 3339), at most [`MAX_AHEAD`] from now; one that has passed holds nothing back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<String>,
    /// After this moment (RFC 3339) it is not delivered any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Asked for again under the same key, the draft gets the first answer and nothing is made twice; 1 to 128 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// A number for people: `{"prefix": "CNC"}` draws the next, `"CNC-1126-0003"` brings one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceDraft>,
    /// At most one in a window: `{"key": "ticket-768", "window": "24h"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<ThrottleDraft>,
    /// When webhooks tell of it, in the place of what their endpoints say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Choice>,
    /// Not stored: at most once, to the streams that are live at this moment. For typing marks and progress.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
}

/// A field of a draft and what is wrong with it, in words for the publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field as it stands in the JSON: `targetRoles[2]`.
    pub field: String,
    /// What is wrong, as a sentence without its subject: `must not be empty`.
    pub message: String,
}

/// A draft that cannot be accepted, with every field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the draft is not valid: {}", .errors.iter().map(|e| format!("{} {}", e.field, e.message)).collect::<Vec<_>>().join("; "))]
pub struct InvalidDraft {
    /// Never empty.
    pub errors: Vec<FieldError>,
}

/// A draft that has passed [`Draft::validate`].
#[derive(Clone, Debug)]
pub enum Validated {
    /// To be stored, and then delivered.
    Notification(Notification),
    /// To be passed on as it is.
    Ephemeral(Ephemeral),
}

/// A validated draft that is never stored: it has an id, but no place in the log.
#[derive(Clone, Debug)]
pub struct Ephemeral {
    /// As in [`Notification`].
    pub id: Uuid,
    /// As in [`Notification`].
    pub audience: Audience,
    /// As in [`Notification`].
    pub created_at: Timestamp,
    /// As in [`Notification`].
    pub expires_at: Option<Timestamp>,
    /// As in [`Notification`].
    pub body: Arc<str>,
}

/// A validated draft with an id: what the store takes and nothing else does.
#[derive(Clone, Debug)]
pub struct Notification {
    /// UUID v7: sorts by the time of its making, unique without asking anybody.
    pub id: Uuid,
    /// The promise it is published under.
    pub kind: Kind,
    /// Who it is for.
    pub audience: Audience,
    /// Who published it, in the form that [`crate::auth::Caller::publisher`] gives.
    pub publisher: Arc<str>,
    /// When the hub accepted it.
    pub created_at: Timestamp,
    /// When it is to be released, if it is held back.
    pub deliver_at: Option<Timestamp>,
    /// When it lapses.
    pub expires_at: Option<Timestamp>,
    /// The public part as one line of JSON: what receivers see, but for a reference, which the store adds.
    pub body: Arc<str>,
    /// Under which key it was asked for.
    pub once: Option<Once>,
    /// What may hold it off.
    pub throttle: Option<Throttle>,
    /// The number for people that it gets.
    pub reference: Option<Reference>,
    /// When webhooks tell of it, if not as their endpoints say.
    pub webhook: Option<Choice>,
}

/// A stored notification in its place in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place: commit order.
    pub position: Position,
    /// As in [`Notification`].
    pub id: Uuid,
    /// As in [`Notification`].
    pub kind: Kind,
    /// As in [`Notification`].
    pub audience: Audience,
    /// When it came into the log: when the hub accepted it, or, if it was held back, released it.
    pub created_at: Timestamp,
    /// As in [`Notification`].
    pub expires_at: Option<Timestamp>,
    /// As in [`Notification`].
    pub body: Arc<str>,
}

impl Entry {
    /// Whether it has lapsed by `now`: then no stream gets it any more.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|moment| moment <= now)
    }
}

/// What filters look at in a public part.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Labels {
    /// In the form in which names are compared, which is not always that in which it was written.
    #[serde(deserialize_with = "compared")]
    pub(crate) module: Option<Arc<str>>,
    pub(crate) severity: Severity,
}

impl Labels {
    /// What cannot be read counts as not said: nothing that is stored may hold up whoever looks at it.
    pub(crate) fn of(body: &str) -> Self {
        serde_json::from_str(body).unwrap_or_default()
    }
}

fn compared<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    let written: Option<String> = Option::deserialize(deserializer)?;
    Ok(written.and_then(|module| identifier(&module).ok()))
}

/// How long an entry of this kind is kept, when nothing else is configured.
pub const fn default_retention(kind: Kind) -> Duration {
    match kind {
        Kind::Notification => Duration::from_secs(30 * 24 * 3600),
        Kind::Broadcast => Duration::from_secs(3600),
    }
}
