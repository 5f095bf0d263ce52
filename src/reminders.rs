//! Reminders: what is overdue speaks up, and again after a while, until somebody says that it is done.
//!
//! A reminder is a draft with a time by which something was to be done. Once that has passed, the draft is published with
//! how long it is overdue, in words, and again no sooner than `repeatEvery`. What is between two of them is measured on the
//! latest clock that any sweep has ever seen, which is stored: neither a clock that is set back nor a restart nor sweeps
//! from two places at once can make two of one window. The store publishes in the transaction that moves the reminder on.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::audience::identifier;
use crate::clock::Timestamp;
use crate::config::duration;
use crate::notification::{
    Draft, FieldError, InvalidDraft, Kind, MAX_MESSAGE_CHARS, Notification, Validated,
};
use crate::webhooks::Choice;

/// The least time between two of one reminder.
pub const MIN_REPEAT: Duration = Duration::from_mins(1);
/// The most.
pub const MAX_REPEAT: Duration = Duration::from_hours(366 * 24);
/// The most reminders that a store holds.
pub const MAX_REMINDERS: usize = 1_000_000;
/// What stands in a draft's title, message or details for how long it is overdue.
pub const PLACEHOLDER: &str = "{overdue}";
/// How many characters that may take.
const OVERDUE_CHARS: usize = 32;

/// A reminder as a publisher asks for it.
#[derive(Clone, Debug)]
pub struct ReminderDraft {
    /// By when it was to be done, in RFC 3339. It may have passed.
    pub due_at: Option<String>,
    /// How long after one the next may follow: `24h`, from [`MIN_REPEAT`] to [`MAX_REPEAT`]. None: it is not repeated.
    pub repeat_every: Option<String>,
    /// What is published.
    pub draft: Draft,
}

/// A reminder that has been checked: the only kind that the store takes.
#[derive(Clone, Debug)]
pub struct NewReminder {
    /// Whose it is.
    pub publisher: Arc<str>,
    /// The publisher's own name for it.
    pub key: Arc<str>,
    /// By when it was to be done.
    pub due_at: Timestamp,
    /// How long after one the next may follow.
    pub repeat_every: Option<Duration>,
    /// What is published, as a [`Draft`] in JSON.
    pub draft: String,
    /// The present moment.
    pub now: Timestamp,
}

/// A stored reminder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reminder {
    /// Rising in the order of their making.
    pub number: i64,
    /// Whose it is.
    pub publisher: Arc<str>,
    /// The publisher's own name for it.
    pub key: Arc<str>,
    /// By when it was to be done.
    pub due_at: Timestamp,
    /// How long after one the next may follow.
    pub repeat_every: Option<Duration>,
    /// When it is published next; none if it was, and is not repeated.
    pub next_at: Option<Timestamp>,
    /// When it was published last, by the latest clock.
    pub last_at: Option<Timestamp>,
    /// How often it was published.
    pub sent: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// What is published, as a [`Draft`] in JSON.
    pub draft: String,
}

/// One that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reminded {
    /// Rising with time.
    pub number: i64,
    /// Whose reminder.
    pub publisher: Arc<str>,
    /// Which.
    pub key: Arc<str>,
    /// As what it was published.
    pub notification: Uuid,
    /// When.
    pub at: Timestamp,
    /// How long it was overdue.
    pub overdue: Duration,
}

impl ReminderDraft {
    /// Checks the key, the times and the draft, as it will be published.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub fn validate(
        mut self,
        key: &str,
        publisher: Arc<str>,
        now: Timestamp,
    ) -> Result<NewReminder, InvalidDraft> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: String| {
            errors.push(FieldError {
                field: field.to_owned(),
                message,
            });
        };
        let key = identifier(key).map_err(|error| wrong("key", error.to_string()));
        let due_at = match self.due_at.as_deref().map(Timestamp::parse_rfc3339) {
            Some(Ok(due_at)) => Some(due_at),
            Some(Err(error)) => {
                wrong("dueAt", error.to_string());
                None
            }
            None => {
                wrong(
                    "dueAt",
                    "is missing: say by when it is to be done".to_owned(),
                );
                None
            }
        };
        let repeat_every = self.repeat_every.as_deref().and_then(|text| {
            match duration::parse(text).map_err(|error| error.to_string()) {
                Ok(every) if (MIN_REPEAT..=MAX_REPEAT).contains(&every) => return Some(every),
                Ok(_) => {
                    let (min, max) = (duration::format(MIN_REPEAT), duration::format(MAX_REPEAT));
                    wrong("repeatEvery", format!("must be from {min} to {max}"));
                }
                Err(error) => wrong("repeatEvery", error),
            }
            None
        });
        for (field, given) in [
            ("everyone", self.draft.everyone),
            ("deliverAt", self.draft.deliver_at.is_some()),
            ("expiresAt", self.draft.expires_at.is_some()),
            ("idempotencyKey", self.draft.idempotency_key.is_some()),
            ("reference", self.draft.reference.is_some()),
            ("throttle", self.draft.throttle.is_some()),
            ("ephemeral", self.draft.ephemeral),
        ] {
            if given {
                wrong(field, "cannot stand in a reminder".to_owned());
            }
        }
        if self.draft.message.chars().count() > MAX_MESSAGE_CHARS - OVERDUE_CHARS {
            let most = MAX_MESSAGE_CHARS - OVERDUE_CHARS;
            wrong(
                "message",
                format!("must be at most {most} characters in a reminder"),
            );
        }
        // One forgotten tab that takes it must not be all that comes of it.
        self.draft.webhook.get_or_insert(Choice::Always);
        let longest = Duration::from_secs(u64::from(u32::MAX));
        let published = with_overdue(self.draft.clone(), longest);
        if let Err(invalid) = published.validate(Kind::Notification, Arc::clone(&publisher), now) {
            errors.extend(invalid.errors);
        }
        let draft = serde_json::to_string(&self.draft);
        match (key, due_at, draft) {
            (Ok(key), Some(due_at), Ok(draft)) if errors.is_empty() => Ok(NewReminder {
                publisher,
                key,
                due_at,
                repeat_every,
                draft,
                now,
            }),
            _ => Err(InvalidDraft { errors }),
        }
    }
}

impl Reminder {
    /// How long it is overdue at a moment; none if it is not.
    pub fn overdue(&self, now: Timestamp) -> Option<Duration> {
        (self.due_at <= now).then(|| now.since(self.due_at))
    }

    /// What is published of it now, when it is overdue by so much.
    ///
    /// # Errors
    /// If its draft, which was valid once, is not any more.
    pub(crate) fn publish(
        &self,
        overdue: Duration,
        now: Timestamp,
    ) -> Result<Notification, InvalidDraft> {
        let unreadable = |message: String| InvalidDraft {
            errors: vec![FieldError {
                field: "draft".to_owned(),
                message,
            }],
        };
        let draft: Draft = serde_json::from_str(&self.draft)
            .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        let publisher = Arc::clone(&self.publisher);
        match with_overdue(draft, overdue).validate(Kind::Notification, publisher, now)? {
            Validated::Notification(notification) => Ok(notification),
            Validated::Ephemeral(_) => Err(unreadable("is ephemeral".to_owned())),
        }
    }
}

/// Says how long it is overdue: where its text asks for it, and else behind the message.
fn with_overdue(mut draft: Draft, overdue: Duration) -> Draft {
    let words = overdue_in_words(overdue);
    let texts = [
        Some(&mut draft.message),
        draft.title.as_mut(),
        draft.details.as_mut(),
    ];
    let mut said = false;
    for text in texts.into_iter().flatten() {
        if text.contains(PLACEHOLDER) {
            *text = text.replace(PLACEHOLDER, &words);
            said = true;
        }
    }
    if !said && !draft.message.is_empty() {
        draft.message.push_str(&format!(" (overdue by {words})"));
    }
    draft
}

/// `2 d 9 h 26 min`: days, hours and minutes, as far as there are any.
pub fn overdue_in_words(overdue: Duration) -> String {
    let minutes = overdue.as_secs() / 60;
    let parts = [
        (minutes / (24 * 60), "d"),
        (minutes / 60 % 24, "h"),
        (minutes % 60, "min"),
    ];
    let words: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect();
    if words.is_empty() {
        "less than 1 min".to_owned()
    } else {
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overdue_is_told_in_days_hours_and_minutes() {
        let minute = 60;
        let (hour, day) = (60 * minute, 24 * 60 * minute);
        for (seconds, words) in [
            (0, "less than 1 min"),
            (59, "less than 1 min"),
            (minute, "1 min"),
            (hour, "1 h"),
            (2 * day + 9 * hour + 26 * minute, "2 d 9 h 26 min"),
            (3 * day + 59, "3 d"),
        ] {
            assert_eq!(overdue_in_words(Duration::from_secs(seconds)), words);
        }
        let longest = overdue_in_words(Duration::from_secs(u64::from(u32::MAX)));
        assert!(
            longest.len() + " (overdue by )".len() <= OVERDUE_CHARS,
            "{longest}"
        );
    }
}
