//! Keys in files: every algorithm that is supported, and what is no key.

use campanile::auth::{AuthError, Authenticator, Secret};
use campanile::config::SigningAlgorithm;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::{Hub, RSA, claims, jwks};
use crate::support::{BinaryHub, SigningKey, binary};

#[test]
fn each_algorithm_is_taken_with_a_key_in_pem_or_in_a_set() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let key = SigningKey::new("a", algorithm);
        let token = key.sign(&claims(json!({})));
        for keys in [key.pem(), jwks(&[&RSA, &key])] {
            let hub = Hub::new().knows(&keys, |_| {});
            assert!(hub.caller(&token).is_ok(), "{algorithm:?}");
            let mut nameless = Header::new(algorithm);
            nameless.typ = None;
            let token = key.sign_with(&nameless, &claims(json!({})));
            assert!(hub.caller(&token).is_ok(), "{algorithm:?} without a kid");
        }
    }
    for (algorithm, name) in [
        (Algorithm::RS256, SigningAlgorithm::RS256),
        (Algorithm::RS384, SigningAlgorithm::RS384),
        (Algorithm::RS512, SigningAlgorithm::RS512),
        (Algorithm::PS256, SigningAlgorithm::PS256),
        (Algorithm::PS384, SigningAlgorithm::PS384),
        (Algorithm::PS512, SigningAlgorithm::PS512),
    ] {
        let hub = Hub::new().knows(&RSA.pem(), |issuer| issuer.algorithms = vec![name]);
        let token = RSA.sign_as(algorithm, &claims(json!({})));
        assert!(hub.caller(&token).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn a_shared_secret_is_for_the_hmac_that_is_configured() {
    let secret = "a secret of a backend, with 32 bytes at least";
    let sign = |algorithm| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &claims(json!({})), &key).expect("a token")
    };
    let hub = |names: &[SigningAlgorithm]| {
        Hub::new().knows("", |issuer| {
            let file = issuer.key_file.take().expect("a file");
            std::fs::write(&file, format!("{secret}\n")).expect("a file");
            issuer.secret_file = Some(file);
            issuer.algorithms = names.to_vec();
        })
    };
    assert!(hub(&[]).caller(&sign(Algorithm::HS256)).is_ok());
    hub(&[]).refuses(&sign(Algorithm::HS512), AuthError::Algorithm);
    let both = hub(&[SigningAlgorithm::HS384, SigningAlgorithm::HS512]);
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert!(both.caller(&sign(algorithm)).is_ok());
    }
    both.refuses(&sign(Algorithm::HS256), AuthError::Algorithm);
}

#[test]
fn what_is_no_key_is_refused_without_being_repeated() {
    let private = "-----BEGIN PRIVATE KEY-----\nSECRETSECRET\n-----END PRIVATE KEY-----\n";
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let secret_set =
        json!({"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "a"}]});
    let mut for_encryption = RSA.jwk();
    for_encryption["use"] = json!("enc");
    let for_encryption = json!({"keys": [for_encryption]}).to_string();
    let p521 = json!({"keys": [{"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}]}).to_string();
    for (text, is_secret, words) in [
        (private, false, "holds a private key"),
        (certificate, false, "holds a certificate"),
        ("hunter2", false, "must be a public key in PEM"),
        ("{\"hunter2\": 1}", false, "must be a public key in PEM"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            false,
            "must be an RSA key of 2048",
        ),
        (&secret_set.to_string(), false, "holds no key for verifying"),
        (&for_encryption, false, "holds no key for verifying"),
        (&p521, false, "holds no key for verifying"),
        ("hunter2", true, "must be a secret of at least 32 bytes"),
        (&RSA.pem(), true, "must be a secret, and is a key"),
        (&jwks(&[&RSA]), true, "must be a secret, and is a key"),
    ] {
        let hub = Hub::new().knows(text, |issuer| {
            if is_secret {
                issuer.secret_file = issuer.key_file.take();
            }
        });
        let refused = Authenticator::new(Secret::random(), &hub.auth).with_issuers(&hub.auth);
        let refused = refused.expect_err(words).to_string();
        assert!(refused.starts_with("auth.issuers: /"), "{refused}");
        assert!(refused.contains(words), "{refused} does not say {words}");
        for part in ["hunter2", "SECRET", "AAAA", "c2Vj"] {
            assert!(!refused.contains(part), "{refused}");
        }
    }
}

#[tokio::test]
async fn flags_say_what_a_single_issuer_needs_and_refuse_one_without_an_audience() {
    let files = tempfile::tempdir().expect("a directory");
    let pem = files.path().join("issuer.pem");
    let key = SigningKey::new("a", Algorithm::ES256);
    std::fs::write(&pem, key.pem()).expect("a file");
    let pem = pem.to_str().expect("UTF-8");
    let data = files.path().join("data");
    let output = binary()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--jwt-key",
            pem,
            "--data",
        ])
        .arg(&data)
        .output()
        .await
        .expect("the binary runs");
    let words = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert_eq!(words.trim_end().lines().count(), 1, "{words}");
    assert!(
        words.starts_with("campanile: --jwt-key: auth.issuers: number 1: must have an audience"),
        "{words}"
    );

    let more = ["--jwt-key", pem, "--audience", "hub", "--role-claim", "a.b"];
    let hub = BinaryHub::serve(&data, &more).await;
    let now = campanile::clock::Timestamp::now().as_millis() / 1000;
    let token = key.sign(&json!({
        "sub": "ann", "aud": "hub", "exp": now + 600, "a": {"b": ["CREW"]}
    }));
    let status = reqwest::Client::new()
        .get(hub.url("/notifications/status"))
        .bearer_auth(token)
        .send()
        .await
        .expect("an answer");
    assert_eq!(status.status(), 200);
    assert_eq!(hub.terminate().await, Some(0));
}
