//! Who a notification is for: named users and roles, or everyone.
//!
//! An audience is a set of keys, `u:<user>`, `r:<role>` or `*`. The same keys index the log in the store and the open
//! streams in the registry, so "who gets it live" and "who finds it on return" cannot disagree. A recipient, the unit
//! in which delivery succeeds or fails, is one key.

use std::fmt;
use std::sync::Arc;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The longest user, role or key, in bytes of UTF-8 after normalisation.
pub const MAX_IDENTIFIER_BYTES: usize = 128;

/// One named user, one role, or everyone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipient {
    /// A user, on any of their streams.
    User(Arc<str>),
    /// Whoever holds the role: one of them suffices.
    Role(Arc<str>),
    /// Everybody who is there.
    Everyone,
}

impl Recipient {
    /// From the form that [`fmt::Display`] writes; none if it is not one.
    pub fn parse(key: &str) -> Option<Self> {
        match key.split_once(':') {
            Some(("u", user)) if !user.is_empty() => Some(Self::User(user.into())),
            Some(("r", role)) if !role.is_empty() => Some(Self::Role(role.into())),
            None if key == "*" => Some(Self::Everyone),
            _ => None,
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "u:{user}"),
            Self::Role(role) => write!(f, "r:{role}"),
            Self::Everyone => f.write_str("*"),
        }
    }
}

/// A set of recipients that is never empty, and holds [`Recipient::Everyone`] only alone. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(Arc<[Recipient]>);

impl Audience {
    /// Everybody.
    pub fn everyone() -> Self {
        Self([Recipient::Everyone].into())
    }

    /// The union of these users and roles, each counted once; none if there are none. The identifiers must have
    /// passed [`identifier`].
    pub fn named(users: Vec<Arc<str>>, roles: Vec<Arc<str>>) -> Option<Self> {
        let mut recipients: Vec<Recipient> = users
            .into_iter()
            .map(Recipient::User)
            .chain(roles.into_iter().map(Recipient::Role))
            .collect();
        recipients.sort_unstable();
        recipients.dedup();
        if recipients.is_empty() {
            None
        } else {
            Some(Self(recipients.into()))
        }
    }

    /// From the form that [`Audience::to_text`] writes; none if it is not one.
    pub fn from_text(text: &str) -> Option<Self> {
        let recipients: Option<Vec<Recipient>> = text.split('\n').map(Recipient::parse).collect();
        match recipients?.as_slice() {
            [] => None,
            several if several.len() > 1 && several.contains(&Recipient::Everyone) => None,
            recipients => Some(Self(recipients.into())),
        }
    }

    /// One key a line: no identifier can hold a line break.
    pub fn to_text(&self) -> String {
        let keys: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        keys.join("\n")
    }

    /// The recipients, each once.
    pub fn recipients(&self) -> &[Recipient] {
        &self.0
    }

    /// Whether it is for everybody.
    pub fn is_everyone(&self) -> bool {
        matches!(&*self.0, [Recipient::Everyone])
    }

    /// Whether a stream of this user with these roles is addressed.
    pub fn includes(&self, user: &str, roles: &[Arc<str>]) -> bool {
        self.0.iter().any(|recipient| match recipient {
            Recipient::User(named) => **named == *user,
            Recipient::Role(named) => roles.contains(named),
            Recipient::Everyone => true,
        })
    }
}

/// Why a text cannot name a user, a role or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentifier {
    /// It has no characters.
    #[error("must not be empty")]
    Empty,
    /// It is longer than [`MAX_IDENTIFIER_BYTES`].
    #[error("must be at most {MAX_IDENTIFIER_BYTES} bytes of UTF-8")]
    TooLong,
    /// It holds a control character, which could end a line somewhere down the way.
    #[error("must not hold control characters")]
    Control,
}

/// A user, a role or a key in the one form in which it is stored and compared: NFC (Unicode Annex 15), so that
/// "équipe" typed on two keyboards is one role.
///
/// # Errors
/// [`InvalidIdentifier`], in words that can stand behind a field's name.
pub fn identifier(text: &str) -> Result<Arc<str>, InvalidIdentifier> {
    if text.is_empty() {
        return Err(InvalidIdentifier::Empty);
    }
    // NFC never triples a text (UAX 15, table 10), so this bounds the work before it is done.
    if text.len() > 3 * MAX_IDENTIFIER_BYTES {
        return Err(InvalidIdentifier::TooLong);
    }
    let normal: Arc<str> = if is_nfc(text) {
        text.into()
    } else {
        text.nfc().collect::<String>().into()
    };
    if normal.len() > MAX_IDENTIFIER_BYTES {
        return Err(InvalidIdentifier::TooLong);
    }
    let breaks_lines = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if normal.chars().any(breaks_lines) {
        return Err(InvalidIdentifier::Control);
    }
    Ok(normal)
}
