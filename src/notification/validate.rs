//! Checking a draft: every field against its rule, once.
//!
//! The outcome is the only way to a [`Notification`] or an [`Ephemeral`], and every field that is wrong is told, not just
//! the first.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Draft, Ephemeral, FieldError, InvalidDraft, Kind, MAX_AHEAD, MAX_DATA_BYTES, MAX_DATA_DEPTH,
    MAX_DETAILS_BYTES, MAX_LINK_BYTES, MAX_MESSAGE_CHARS, MAX_ROLES, MAX_TITLE_CHARS, MAX_USERS,
    Notification, Severity, Validated,
};
use crate::audience::Audience;
use crate::clock::Timestamp;
use crate::idempotency::{Fingerprint, Once};
use crate::reference::Reference;
use crate::throttle::Throttle;
use crate::webhooks::Choice;

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
    ) -> Result<Validated, InvalidDraft> {
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
        let once = self.idempotency_key.as_deref();
        let key = once.and_then(|key| wrong.identifier("idempotencyKey", key));
        let asked_for = self.deliver(now, &mut wrong);
        let expires_at = self.expires(now, &mut wrong);
        if let (Some(deliver_at), Some(expires_at)) = (asked_for, expires_at)
            && expires_at <= deliver_at
        {
            wrong.push("expiresAt", "must be after deliverAt");
        }
        let throttle = self.throttle.as_ref().and_then(|throttle| {
            let checked = throttle.check();
            checked.map_err(|errors| wrong.0.extend(errors)).ok()
        });
        let reference = self.reference.as_ref().and_then(|reference| {
            let checked = reference.check();
            checked.map_err(|(field, why)| wrong.push(field, why)).ok()
        });
        self.check_ephemeral(&mut wrong);
        let (Some(audience), true) = (audience, wrong.0.is_empty()) else {
            return Err(InvalidDraft { errors: wrong.0 });
        };

        let unwritable = |error: serde_json::Error| {
            let mut wrong = Wrong(Vec::new());
            wrong.push("data", format!("cannot be written as JSON: {error}"));
            InvalidDraft { errors: wrong.0 }
        };
        let public = |id, created_at| PublicPart {
            notification_id: id,
            title: self.title.as_deref(),
            message: &self.message,
            details: self.details.as_deref(),
            severity: self.severity.unwrap_or_default(),
            module: self.module.as_deref(),
            action_type: self.action_type.as_deref(),
            link: self.link.as_deref(),
            data: data.as_deref(),
            created_at,
            expires_at: expires_at.map(|moment| moment.to_string()),
        };
        let id = Uuid::now_v7();
        let deliver_at = asked_for.filter(|moment| *moment > now);
        // To those who are told, it comes into being when it reaches them.
        let body = public(id, deliver_at.unwrap_or(now).to_string());
        let body = serde_json::to_string(&body).map_err(unwritable)?;
        if self.ephemeral {
            return Ok(Validated::Ephemeral(Ephemeral {
                id,
                audience,
                created_at: now,
                expires_at,
                body: body.into(),
            }));
        }
        let once = key.map(|key| {
            let fingerprint = Fingerprint::of(&Asked {
                kind,
                audience: audience.to_text(),
                public: public(Uuid::nil(), String::new()),
                throttle: throttle.as_ref(),
                reference: reference.as_ref(),
                deliver_at: asked_for,
                webhook: self.webhook,
            })?;
            Ok(Once { key, fingerprint })
        });
        Ok(Validated::Notification(Notification {
            id,
            kind,
            publisher,
            created_at: now,
            deliver_at,
            expires_at,
            body: body.into(),
            once: once.transpose().map_err(unwritable)?,
            audience,
            throttle,
            reference,
            webhook: self.webhook,
        }))
    }

    /// When it is to be released. A moment that has passed is no error: it may be one that was accepted before, asked for
    /// again.
    fn deliver(&self, now: Timestamp, wrong: &mut Wrong) -> Option<Timestamp> {
        match Timestamp::parse_rfc3339(self.deliver_at.as_deref()?) {
            Ok(moment) if moment <= now.saturating_add(MAX_AHEAD) => return Some(moment),
            Ok(_) => {
                let days = MAX_AHEAD.as_secs() / (24 * 3600);
                wrong.push("deliverAt", format!("must be at most {days} days from now"));
            }
            Err(error) => wrong.push("deliverAt", error.to_string()),
        }
        None
    }

    /// When it lapses. One that has lapsed already is refused here, unless it has a key: then it may be one that was
    /// accepted before, asked for again, and only the store knows.
    fn expires(&self, now: Timestamp, wrong: &mut Wrong) -> Option<Timestamp> {
        let moment = Timestamp::parse_rfc3339(self.expires_at.as_deref()?);
        match moment {
            Ok(moment) if moment > now || (self.idempotency_key.is_some() && !self.ephemeral) => {
                return Some(moment);
            }
            Ok(_) => wrong.push("expiresAt", LAPSED),
            Err(error) => wrong.push("expiresAt", error.to_string()),
        }
        None
    }

    fn check_ephemeral(&self, wrong: &mut Wrong) {
        let kept = [
            ("idempotencyKey", self.idempotency_key.is_some()),
            ("throttle", self.throttle.is_some()),
            ("reference", self.reference.is_some()),
            ("deliverAt", self.deliver_at.is_some()),
            ("webhook", self.webhook.is_some()),
        ];
        for (field, _) in kept.iter().filter(|(_, given)| self.ephemeral && *given) {
            wrong.push(
                field,
                "cannot stand together with ephemeral, of which nothing is kept",
            );
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

/// Why a draft is refused that has lapsed before it was accepted.
pub(crate) const LAPSED: &str = "must be in the future";

/// What a publisher asks for, apart from what the hub gives: the same for the same draft, whenever it comes.
#[derive(Serialize)]
struct Asked<'a> {
    kind: Kind,
    audience: String,
    public: PublicPart<'a>,
    throttle: Option<&'a Throttle>,
    reference: Option<&'a Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_at: Option<Timestamp>,
    /// Left out where it is not said, as before there was one: fingerprints outlive an upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<Choice>,
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
    data: Option<&'a RawValue>,
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
