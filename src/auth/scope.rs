//! What a caller may do beyond reading what is theirs: nothing, publish, or administer.
//!
//! Two scopes are enough: whoever administers may publish too, and reading is not a scope but having a user.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something that a caller may do beyond reading what is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Publish notifications and broadcasts.
    Publish,
    /// Administer the hub; implies [`Scope::Publish`].
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Admin => "admin",
        })
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"publish\" or \"admin\"")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "publish" => Ok(Self::Publish),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownScope),
        }
    }
}

/// Which scopes a caller has; none makes a reader. Collect it from [`Scope`]s, so that admin implies publish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes {
    /// May publish.
    pub publish: bool,
    /// May administer.
    pub admin: bool,
}

impl Scopes {
    /// Whether `scope` is among them.
    pub fn has(self, scope: Scope) -> bool {
        match scope {
            Scope::Publish => self.publish || self.admin,
            Scope::Admin => self.admin,
        }
    }

    /// Each of them, as JSON answers list them.
    pub fn list(self) -> Vec<Scope> {
        let mut scopes = vec![Scope::Publish, Scope::Admin];
        scopes.retain(|scope| self.has(*scope));
        scopes
    }

    /// From words separated by white space, as in the `scope` claim (RFC 8693, section 4.2) and as [`fmt::Display`]
    /// writes them. Words that mean nothing here (`openid`) are passed over.
    pub fn from_words(words: &str) -> Self {
        words
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes
            .into_iter()
            .fold(Self::default(), |so_far, scope| Self {
                publish: true,
                admin: so_far.admin || scope == Scope::Admin,
            })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.list().iter().map(Scope::to_string).collect();
        f.write_str(&words.join(" "))
    }
}
