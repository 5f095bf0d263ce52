//! Publishing under a key: the same request again is answered again, and nothing is made twice.
//!
//! A publisher who did not hear the answer cannot know whether the notification was made. With a key of their own choice
//! they may just ask again: within the time that keys are kept, the same draft gets the first answer, and another draft
//! under the same key is refused. What decides is a row in the database, unique for publisher and key, written in the
//! transaction that makes the notification; here is only what the row is made of.

use std::sync::Arc;

use aws_lc_rs::digest;
use serde::Serialize;

/// A key, and what was asked under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The key, unique for its publisher; an identifier as [`crate::audience::identifier`] gives it.
    pub key: Arc<str>,
    /// What tells this draft from others.
    pub fingerprint: Fingerprint,
}

/// The SHA-256 of what a publisher asked for: the validated draft and the kind of publishing, without the id and the time
/// that the hub gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of whatever this is as JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(crate) fn of(asked: &impl Serialize) -> Result<Self, serde_json::Error> {
        let json = serde_json::to_vec(asked)?;
        let mut hash = [0; 32];
        let digest = digest::digest(&digest::SHA256, &json);
        hash.copy_from_slice(digest.as_ref());
        Ok(Self(hash))
    }

    /// As it is stored.
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The key in a header's value: as it stands, or between quotes, as the IETF's draft of the header has it
/// (draft-ietf-httpapi-idempotency-key-header; a string of RFC 8941, section 3.3.3).
pub(crate) fn key_in_header(value: &str) -> String {
    let value = value.trim();
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        Some(inside) => {
            let mut key = String::with_capacity(inside.len());
            let mut characters = inside.chars();
            while let Some(c) = characters.next() {
                key.extend(if c == '\\' {
                    characters.next()
                } else {
                    Some(c)
                });
            }
            key
        }
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_quotes_is_the_key_without_them() {
        assert_eq!(key_in_header("order-123"), "order-123");
        assert_eq!(key_in_header(" \"order-123\" "), "order-123");
        assert_eq!(key_in_header(r#""a\"b\\c""#), r#"a"b\c"#);
        assert_eq!(key_in_header("\""), "\"");
    }
}
