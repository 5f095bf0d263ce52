//! Keys that tokens are checked with: a secret, a PEM file, a set of JSON Web Keys.
//!
//! A key is for the algorithms of one family, and that is fixed here, from the key and the configuration (RFC 8725, 3.1):
//! what a token's header asks for can only be refused. So a public key is never taken for a secret of HMAC, and a header's
//! `jku`, `jwk` and `x5u` are never looked at.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use serde_json::{Map, Value};

use super::AuthError;

/// The most keys of one set that are used.
pub(super) const MAX_KEYS: usize = 100;

/// The least length of a secret, in bytes: that of HS256's output (RFC 7518, section 3.2).
pub(super) const MIN_SECRET_BYTES: usize = 32;

const HS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
const PS: [Algorithm; 3] = [Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// Why a text is no key. The messages hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no PEM with a public key, and no set of keys.
    #[error("must be a public key in PEM (BEGIN PUBLIC KEY), or a JWKS: {{\"keys\": [...]}}")]
    NoKey,
    /// It is half of a pair that must not be here.
    #[error(
        "holds a private key; the hub takes the public one alone: openssl pkey -in FILE -pubout"
    )]
    Private,
    /// The key stands in a certificate.
    #[error("holds a certificate; take the key out of it: openssl x509 -in FILE -pubkey -noout")]
    Certificate,
    /// A key of a kind, or a size, that no supported algorithm is for.
    #[error("must be an RSA key of 2048 to 8192 bits, or one on P-256, P-384 or Ed25519")]
    Unsupported,
    /// The configured algorithms are not for this key.
    #[error("is no key for the algorithms that are configured")]
    Algorithms,
    /// No key of the set can be used.
    #[error("holds no key for verifying signatures that this hub supports")]
    Empty,
    /// A secret that can be guessed, or is none.
    #[error("must be a secret of at least 32 bytes")]
    Short,
    /// What everybody may know must not be a secret.
    #[error("must be a secret, and is a key or a set of keys: that goes into key_file")]
    NoSecret,
}

/// A key, and the algorithms that it is for: at least one, all of one family.
#[derive(Clone)]
pub(super) struct VerificationKey {
    kid: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

impl VerificationKey {
    fn new(kid: Option<String>, key: DecodingKey, algorithms: &[Algorithm]) -> Self {
        // Times, issuer and audience are looked at elsewhere: the library would read the machine's clock.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.algorithms = algorithms.to_vec();
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self {
            kid,
            key,
            validation,
        }
    }

    /// A shared secret.
    pub(super) fn secret(secret: &[u8], algorithms: &[Algorithm]) -> Self {
        Self::new(None, DecodingKey::from_secret(secret), algorithms)
    }

    /// A secret as its file has it, for those of `wanted` that are HMAC; HS256 if none is named.
    pub(super) fn secret_text(text: &[u8], wanted: &[Algorithm]) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        if text.starts_with(b"-----BEGIN") || text.starts_with(b"{") {
            return Err(KeyError::NoSecret);
        }
        if text.len() < MIN_SECRET_BYTES {
            return Err(KeyError::Short);
        }
        let algorithms = among(&HS, wanted, &[Algorithm::HS256]);
        if algorithms.is_empty() {
            return Err(KeyError::Algorithms);
        }
        Ok(Self::secret(text, &algorithms))
    }

    /// The public keys in a file: PEM, or a JWKS.
    pub(super) fn public(text: &str, wanted: &[Algorithm]) -> Result<Vec<Self>, KeyError> {
        if text.trim_start().starts_with('{') {
            return Self::set(text.as_bytes(), wanted);
        }
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if text.contains("-----BEGIN CERTIFICATE-----") {
            return Err(KeyError::Certificate);
        }
        let der = public_key_of_pem(text).ok_or(KeyError::NoKey)?;
        let is = |algorithm: &'static dyn VerificationAlgorithm| {
            ParsedPublicKey::new(algorithm, &der).is_ok()
        };
        let (key, fitting) = if is(&RSA_PKCS1_2048_8192_SHA256) {
            (DecodingKey::from_rsa_der(&der), rsa(wanted))
        } else if is(&ECDSA_P256_SHA256_FIXED) {
            let algorithms = among(&[Algorithm::ES256], wanted, &[Algorithm::ES256]);
            (DecodingKey::from_ec_der(&der), algorithms)
        } else if is(&ECDSA_P384_SHA384_FIXED) {
            let algorithms = among(&[Algorithm::ES384], wanted, &[Algorithm::ES384]);
            (DecodingKey::from_ec_der(&der), algorithms)
        } else if is(&ED25519) {
            let algorithms = among(&[Algorithm::EdDSA], wanted, &[Algorithm::EdDSA]);
            (DecodingKey::from_ed_der(&der), algorithms)
        } else {
            return Err(KeyError::Unsupported);
        };
        if fitting.is_empty() {
            return Err(KeyError::Algorithms);
        }
        Ok(vec![Self::new(None, key, &fitting)])
    }

    /// The keys of a JWKS (RFC 7517, section 5) that are for verifying; the others are passed over, as section 5 says.
    pub(super) fn set(json: &[u8], wanted: &[Algorithm]) -> Result<Vec<Self>, KeyError> {
        let document: Value = serde_json::from_slice(json).map_err(|_| KeyError::NoKey)?;
        let listed = document.get("keys").and_then(Value::as_array);
        let listed = listed.ok_or(KeyError::NoKey)?.iter().take(MAX_KEYS);
        let keys: Vec<Self> = listed
            .filter_map(|key| serde_json::from_value(key.clone()).ok())
            .filter_map(|key: Jwk| Self::of_set(&key, wanted))
            .collect();
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(keys)
    }

    fn of_set(jwk: &Jwk, wanted: &[Algorithm]) -> Option<Self> {
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref();
        let operations = common.key_operations.as_ref();
        if signs.is_some_and(|purpose| *purpose != PublicKeyUse::Signature)
            || operations.is_some_and(|list| !list.contains(&KeyOperations::Verify))
        {
            return None;
        }
        // A secret that is published is none: `oct` keys are passed over.
        let fitting = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => match common.key_algorithm {
                Some(named) => among(&[RS, PS].concat(), wanted, &[RS, PS].concat())
                    .into_iter()
                    .filter(|algorithm| KeyAlgorithm::from(*algorithm) == named)
                    .collect(),
                None => rsa(wanted),
            },
            AlgorithmParameters::EllipticCurve(key) => {
                let of_curve = match key.curve {
                    EllipticCurve::P256 => [Algorithm::ES256],
                    EllipticCurve::P384 => [Algorithm::ES384],
                    _ => return None,
                };
                among(&of_curve, wanted, &of_curve)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                among(&[Algorithm::EdDSA], wanted, &[Algorithm::EdDSA])
            }
            _ => return None,
        };
        let named = |algorithm: &Algorithm| {
            common
                .key_algorithm
                .is_none_or(|named| named == KeyAlgorithm::from(*algorithm))
        };
        let fitting: Vec<Algorithm> = fitting.into_iter().filter(named).collect();
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let kid = common.key_id.clone();
        (!fitting.is_empty()).then(|| Self::new(kid, key, &fitting))
    }

    /// Whether it may have signed a token that names this key: one without a name may have signed any.
    pub(super) fn may_be(&self, kid: Option<&str>) -> bool {
        match (&self.kid, kid) {
            (Some(own), Some(kid)) => own == kid,
            _ => true,
        }
    }

    /// The claims of a token that it has signed.
    pub(super) fn verify(&self, token: &str) -> Result<Map<String, Value>, AuthError> {
        match jsonwebtoken::decode(token, &self.key, &self.validation) {
            Ok(checked) => Ok(checked.claims),
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidSignature => AuthError::BadSignature,
                ErrorKind::InvalidAlgorithm
                | ErrorKind::UnsupportedAlgorithm
                | ErrorKind::InvalidKeyFormat => AuthError::Algorithm,
                _ => AuthError::Malformed,
            }),
        }
    }
}

/// An RSA key is for one of two families: that of the configured algorithms, or PKCS #1.
fn rsa(wanted: &[Algorithm]) -> Vec<Algorithm> {
    let pkcs1 = among(&RS, wanted, &RS);
    if pkcs1.is_empty() {
        among(&PS, wanted, &[])
    } else {
        pkcs1
    }
}

/// Those of `possible` that are wanted; `otherwise` if nothing is.
fn among(possible: &[Algorithm], wanted: &[Algorithm], otherwise: &[Algorithm]) -> Vec<Algorithm> {
    if wanted.is_empty() {
        return otherwise.to_vec();
    }
    let wanted = |algorithm: &Algorithm| wanted.contains(algorithm);
    possible.iter().copied().filter(wanted).collect()
}

/// The DER of the first `PUBLIC KEY` in a PEM file (RFC 7468, section 13).
fn public_key_of_pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok()
}
