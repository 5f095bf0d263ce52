//! What a publisher sends and what becomes of it: `Draft` → [`Draft::validate`] → [`Notification`] → [`Entry`].
//!
//! A draft is checked once, here, at the edge. What comes out is the only type that the store takes, so nothing
//! unvalidated goes further: no identifier that could break an event stream's line, no audience that is empty by a
//! slip, no text beyond its limit. Who was addressed and the public part travel apart from the start, because those
//! who are told must not learn who else was.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::audience::Audience;
use crate::clock::Timestamp;
use crate::log::Position;

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
    /// After this moment (RFC 3339) it is not delivered any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
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
    /// When it lapses.
    pub expires_at: Option<Timestamp>,
    /// The public part as one line of JSON: what receivers see.
    pub body: Arc<str>,
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
    /// As in [`Notification`].
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

impl Draft {
    /// Checks every field against its rule and gives the notification its id and the moment of its acceptance.
    ///
    /// A broadcast without an audience is for everyone; a notification without one is refused, because a slip must
    /// not reach everybody.
    ///
    /// # Errors
    /// [`InvalidDraft`] with one entry for each field that breaks its rule.
    pub fn validate(
        self,
        kind: Kind,
        publisher: Arc<str>,
        now: Timestamp,
    ) -> Result<Notification, InvalidDraft> {
        let mut wrong = Wrong(Vec::new());
        let audience = self.audience(kind, &mut wrong);
        wrong.text("message", Some(&self.message), MAX_MESSAGE_CHARS);
        wrong.text("title", self.title.as_deref(), MAX_TITLE_CHARS);
        if let Some(details) = &self.details
            && details.len() > MAX_DETAILS_BYTES
        {
            wrong.push(
                "details",
                format!("must be at most {MAX_DETAILS_BYTES} bytes"),
            );
        }
        wrong.word("module", self.module.as_deref());
        wrong.word("actionType", self.action_type.as_deref());
        if let Some(link) = &self.link {
            wrong.check("link", check_link(link));
        }
        let data = self.data.as_deref().and_then(|data| {
            let packed = pack_json(data.get());
            wrong.check("data", packed.as_ref().map(|_| ()).map_err(String::clone));
            packed.ok()
        });
        let expires_at = self.expires_at.as_deref().and_then(|text| {
            let moment = Timestamp::parse_rfc3339(text).map_err(|e| e.to_string());
            let moment = moment.and_then(|moment| {
                if moment <= now {
                    Err("must be in the future".to_owned())
                } else {
                    Ok(moment)
                }
            });
            wrong.check(
                "expiresAt",
                moment.as_ref().map(|_| ()).map_err(String::clone),
            );
            moment.ok()
        });
        let (Some(audience), true) = (audience, wrong.0.is_empty()) else {
            return Err(InvalidDraft { errors: wrong.0 });
        };

        let id = Uuid::now_v7();
        let body = PublicPart {
            notification_id: id,
            title: self.title.as_deref(),
            message: &self.message,
            details: self.details.as_deref(),
            severity: self.severity.unwrap_or_default(),
            module: self.module.as_deref(),
            action_type: self.action_type.as_deref(),
            link: self.link.as_deref(),
            data,
            created_at: now.to_string(),
            expires_at: expires_at.map(|moment| moment.to_string()),
        };
        match serde_json::to_string(&body) {
            Ok(body) => Ok(Notification {
                id,
                kind,
                audience,
                publisher,
                created_at: now,
                expires_at,
                body: body.into(),
            }),
            Err(error) => {
                wrong.push("data", format!("cannot be written as JSON: {error}"));
                Err(InvalidDraft { errors: wrong.0 })
            }
        }
    }

    fn audience(&self, kind: Kind, wrong: &mut Wrong) -> Option<Audience> {
        let named = self.target_user_id.is_some()
            || !self.target_user_ids.is_empty()
            || !self.target_roles.is_empty();
        if self.everyone && named {
            wrong.push(
                "everyone",
                "cannot stand together with targetUserId, targetUserIds or targetRoles",
            );
            return None;
        }
        if self.everyone || (!named && kind == Kind::Broadcast) {
            return Some(Audience::everyone());
        }
        if !named {
            wrong.push(
                "audience",
                "is missing: say targetUserId, targetUserIds, targetRoles or everyone",
            );
            return None;
        }
        if self.target_user_ids.len() + usize::from(self.target_user_id.is_some()) > MAX_USERS {
            wrong.push(
                "targetUserIds",
                format!("must name at most {MAX_USERS} users"),
            );
            return None;
        }
        if self.target_roles.len() > MAX_ROLES {
            wrong.push(
                "targetRoles",
                format!("must name at most {MAX_ROLES} roles"),
            );
            return None;
        }
        let mut users = Vec::new();
        if let Some(user) = &self.target_user_id {
            users.extend(wrong.identifier("targetUserId", user));
        }
        for (i, user) in self.target_user_ids.iter().enumerate() {
            users.extend(wrong.identifier(&format!("targetUserIds[{i}]"), user));
        }
        let mut roles = Vec::new();
        for (i, role) in self.target_roles.iter().enumerate() {
            roles.extend(wrong.identifier(&format!("targetRoles[{i}]"), role));
        }
        Audience::named(users, roles)
    }
}

/// What receivers see, in the order in which it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublicPart<'a> {
    notification_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
    severity: Severity,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// The field errors found so far.
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn push(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    fn check(&mut self, field: &str, outcome: Result<(), String>) {
        if let Err(message) = outcome {
            self.push(field, message);
        }
    }

    fn text(&mut self, field: &str, text: Option<&str>, max_chars: usize) {
        let Some(text) = text else { return };
        if text.trim().is_empty() {
            self.push(field, "must not be empty");
        } else if text.chars().count() > max_chars {
            self.push(field, format!("must be at most {max_chars} characters"));
        }
    }

    fn identifier(&mut self, field: &str, text: &str) -> Option<Arc<str>> {
        let checked = crate::audience::identifier(text);
        self.check(
            field,
            checked.as_ref().map(|_| ()).map_err(ToString::to_string),
        );
        checked.ok()
    }

    fn word(&mut self, field: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.identifier(field, text);
        }
    }
}

/// http, https, or relative. White space, control characters and backslashes are refused because browsers drop or
/// turn them before they look for a scheme (WHATWG URL 4.4), so that `java\tscript:` would pass any simpler check.
fn check_link(link: &str) -> Result<(), String> {
    if link.is_empty() {
        return Err("must not be empty".into());
    }
    if link.len() > MAX_LINK_BYTES {
        return Err(format!("must be at most {MAX_LINK_BYTES} bytes"));
    }
    if link
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return Err("must not hold white space, control characters or backslashes".into());
    }
    let scheme = link
        .split_once(':')
        .map(|(scheme, _)| scheme)
        .filter(|scheme| !scheme.contains(['/', '?', '#']));
    match scheme {
        None => Ok(()),
        Some(scheme)
            if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
        {
            Ok(())
        }
        Some(_) => Err("must be http, https or relative".into()),
    }
}

/// The same JSON without white space between its tokens, so that it stands on one line. Numbers and strings are
/// passed on digit for digit: a large integer survives.
fn pack_json(json: &str) -> Result<Box<RawValue>, String> {
    let mut packed = String::with_capacity(json.len());
    let (mut in_string, mut escaped, mut depth) = (false, false, 0usize);
    for c in json.chars() {
        if in_string {
            packed.push(c);
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            ' ' | '\t' | '\r' | '\n' => continue,
            '"' => in_string = true,
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DATA_DEPTH {
            return Err(format!("must nest at most {MAX_DATA_DEPTH} deep"));
        }
        packed.push(c);
    }
    if packed.len() > MAX_DATA_BYTES {
        return Err(format!("must be at most {MAX_DATA_BYTES} bytes of JSON"));
    }
    RawValue::from_string(packed).map_err(|error| format!("must be JSON: {error}"))
}

/// How long an entry of this kind is kept, when nothing else is configured.
pub const fn default_retention(kind: Kind) -> Duration {
    match kind {
        Kind::Notification => Duration::from_secs(30 * 24 * 3600),
        Kind::Broadcast => Duration::from_secs(3600),
    }
}
