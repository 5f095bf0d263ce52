//! Secrets, and what they sign, as Standard Webhooks 1.0 says: HMAC-SHA256 of `id.timestamp.body`.

use std::fmt;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// What a secret begins with where it is shown.
pub const SECRET_PREFIX: &str = "whsec_";

/// How many random bytes a secret has; the standard asks for 24 to 64.
const BYTES: usize = 32;

/// What signs the webhooks of one endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A new one.
    ///
    /// # Panics
    /// If the system has no randomness to give; nothing safe could follow.
    #[allow(
        clippy::expect_used,
        reason = "without randomness nothing safe could follow"
    )]
    pub fn random() -> Self {
        let mut bytes = vec![0; BYTES];
        rand::fill(&mut bytes).expect("the system gives random bytes");
        Self(bytes)
    }

    /// As it was stored.
    pub(crate) const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// As it is stored.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As its receiver is given it: `whsec_` and the bytes in base64.
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64.encode(&self.0))
    }

    /// One signature: `v1,` and the HMAC in base64.
    pub fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let key = Key::new(HMAC_SHA256, &self.0);
        let tag = sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(tag.as_ref()))
    }
}

/// Never shows it.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_what_the_standards_example_signs() {
        // https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/rust/src/lib.rs
        let bytes = BASE64.decode("C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let secret = Secret::from_bytes(bytes.expect("base64"));
        let signature = secret.sign(
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn is_not_shown_by_accident() {
        assert_eq!(format!("{:?}", Secret::random()), "Secret(…)");
    }
}
