//! Somebody else who signs tokens, with keys made for one test, and a server that publishes them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::soon;

/// A key pair, with the name under which its public half is published.
pub struct SigningKey {
    pub kid: String,
    pub algorithm: Algorithm,
    key: EncodingKey,
    spki: Vec<u8>,
}

impl SigningKey {
    /// A new one for an algorithm that is not HMAC.
    pub fn new(kid: &str, algorithm: Algorithm) -> Self {
        let (key, spki) = match algorithm {
            Algorithm::ES256 => of_curve(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => of_curve(&ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::EdDSA => {
                let pair = Ed25519KeyPair::generate().expect("a key");
                let pkcs8 = pair.to_pkcs8v1().expect("PKCS #8");
                let spki = pair.public_key().as_der().expect("SPKI");
                let key = EncodingKey::from_ed_der(pkcs8.as_ref());
                (key, spki.as_ref().to_vec())
            }
            _ => {
                let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key");
                let pkcs8 = pair.as_der().expect("PKCS #8");
                // The signer takes PKCS #1, which begins after PKCS #8's fixed head for RSA.
                let key = EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]);
                let spki = pair.public_key().as_der().expect("SPKI");
                (key, spki.as_ref().to_vec())
            }
        };
        Self {
            kid: kid.to_owned(),
            algorithm,
            key,
            spki,
        }
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.algorithm, claims)
    }

    /// The same with another algorithm of its family.
    pub fn sign_as(&self, algorithm: Algorithm, claims: &Value) -> String {
        let mut header = Header::new(algorithm);
        header.kid = Some(self.kid.clone());
        self.sign_with(&header, claims)
    }

    pub fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).expect("a token")
    }

    /// The public half as its issuer publishes it.
    pub fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The same as PEM.
    pub fn pem(&self) -> String {
        let body = STANDARD.encode(&self.spki);
        let lines: Vec<&str> = body
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).expect("text"))
            .collect();
        let lines = lines.join("\n");
        format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
    }
}

fn of_curve(
    algorithm: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm,
) -> (EncodingKey, Vec<u8>) {
    let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
    let pkcs8 = pair.to_pkcs8v1().expect("PKCS #8");
    let spki = pair.public_key().as_der().expect("SPKI");
    let key = EncodingKey::from_ec_der(pkcs8.as_ref());
    (key, spki.as_ref().to_vec())
}

/// A JWKS of these keys.
pub fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// Serves a JWKS, and counts how often it is asked for it.
pub struct JwksServer {
    pub url: String,
    answer: Arc<Mutex<String>>,
    asked: watch::Sender<usize>,
    requests: Arc<Mutex<VecDeque<String>>>,
    serving: JoinHandle<()>,
}

impl JwksServer {
    pub async fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let answer = Arc::new(Mutex::new(ok(body)));
        let asked = watch::Sender::new(0);
        let requests = Arc::new(Mutex::new(VecDeque::new()));
        let (to_send, count, heads) = (Arc::clone(&answer), asked.clone(), Arc::clone(&requests));
        let serving = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let read = socket.read(&mut head).await.unwrap_or(0);
                heads
                    .lock()
                    .unwrap()
                    .push_back(String::from_utf8_lossy(&head[..read]).into_owned());
                count.send_modify(|asked| *asked += 1);
                let answer = to_send.lock().unwrap().clone();
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
            }
        });
        Self {
            url: format!("http://{addr}/jwks"),
            answer,
            asked,
            requests,
            serving,
        }
    }

    /// From now on it answers with these keys.
    pub fn publish(&self, body: &str) {
        self.answer_with(&ok(body));
    }

    /// From now on it answers with these bytes.
    pub fn answer_with(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    pub fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until it is asked once more.
    pub async fn asked_again(&self) {
        let asked = self.asked();
        let mut asking = self.asked.subscribe();
        let again = asking.wait_for(|now| *now > asked);
        soon("another request", again).await.expect("it serves");
    }

    /// The first lines of the requests so far.
    pub fn paths(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let first = |head: &String| head.lines().next().unwrap_or_default().to_owned();
        requests.iter().map(first).collect()
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
