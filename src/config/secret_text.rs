//! A secret in the configuration: it goes in, and never comes out by being printed.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// What stands in a secret's place where the configuration is printed.
const NOT_SHOWN: &str = "(not shown)";

/// A text that is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// This one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Says nothing of the secret.
impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(NOT_SHOWN)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    /// Its errors do not repeat what was there, as those of a plain text would.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer) {
            Ok(toml::Value::String(text)) if text == NOT_SHOWN => Err(D::Error::custom(
                "must be the secret itself, which a printed configuration does not hold",
            )),
            Ok(toml::Value::String(text)) if !text.is_empty() => Ok(Self(text)),
            _ => Err(D::Error::custom("must be a text, and not an empty one")),
        }
    }
}
