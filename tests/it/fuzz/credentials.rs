//! Tokens and sessions that were right and had something done to them, and ones that are sealed rightly and say anything
//! at all: never a panic, and nobody is let in but by what was issued, letter for letter.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile::auth::{
    AuthError, Authenticator, Caller, MAX_TOKEN_ROLES, Mint, Scope, Scopes, Secret,
};
use campanile::clock::Timestamp;
use campanile::config::{Auth, Issuer, SecretText};
use futures::FutureExt;
use jsonwebtoken::Algorithm;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::settings;
use crate::sessions::{NOW, OF_V4, OF_V5, OF_V5_SECURE, OF_V5_WITH_GCM, SECRET, V4, V5, V5_SECURE};
use crate::support::SigningKey;

/// The hub's leeway, by default.
const LEEWAY: Duration = Duration::from_secs(5);

/// An authenticator that knows a site's sessions and three other issuers, what it must accept, and its own secret.
struct Known {
    authenticator: Authenticator,
    secret: Vec<u8>,
    /// Tokens that are good.
    tokens: Vec<(String, Caller)>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let mut auth = Auth {
        nextauth_secret: Some(SecretText::new(SECRET)),
        ..Auth::default()
    };
    let mut tokens = Vec::new();
    for (name, algorithm) in [
        ("rsa", Algorithm::RS256),
        ("curve", Algorithm::ES256),
        ("edwards", Algorithm::EdDSA),
    ] {
        let key = SigningKey::new(name, algorithm);
        let file = directory.path().join(name);
        std::fs::write(&file, key.pem()).expect("a file");
        let expires = NOW.as_millis() / 1000 + 3600;
        tokens.push(key.sign(&json!({
            "iss": name, "aud": "campanile", "sub": "42", "roles": ["CREW"], "exp": expires,
        })));
        auth.issuers.push(Issuer {
            issuer: Some(name.to_owned()),
            key_file: Some(file),
            audience: vec!["campanile".to_owned()],
            ..Issuer::default()
        });
    }
    let path = directory.path().join("secret");
    let secret = Secret::load_or_create(&path).expect("a secret");
    let text = std::fs::read_to_string(&path).expect("its file");
    let authenticator = Authenticator::new(secret, &auth)
        .with_issuers(&auth)
        .expect("the keys can be read")
        .with_sessions(&auth)
        .expect("the site's secret");
    let mint = Mint {
        user: "42".to_owned(),
        roles: vec!["ADMIN".to_owned()],
        scopes: [Scope::Admin].into_iter().collect(),
        ttl: Duration::from_secs(3600),
    };
    tokens.push(authenticator.mint(mint, NOW));
    let tokens = tokens.into_iter().map(|token| {
        let caller = authenticator.token(&token, NOW).expect("it is good");
        (token, caller)
    });
    Known {
        tokens: tokens.collect(),
        secret: URL_SAFE_NO_PAD.decode(text.trim()).expect("base64url"),
        authenticator,
    }
});

const SESSIONS: [(&str, &str); 4] = [
    (V5, OF_V5),
    (V5, OF_V5_WITH_GCM),
    (V5_SECURE, OF_V5_SECURE),
    (V4, OF_V4),
];

fn session(cookie: &str, session: &str) -> Result<Caller, AuthError> {
    let checked = KNOWN.authenticator.session(cookie, session, NOW);
    checked.now_or_never().expect("there is nobody to ask")
}

/// Something done to a credential. Places are drawn for whatever length it has by then.
#[derive(Clone, Debug)]
enum Harm {
    FlipBit(Index, u8),
    /// Another letter of the alphabet that they are written in.
    Write(Index, char),
    Cut(Index),
    Insert(Index, String),
    Swap(Index, Index),
    Remove(Index),
    Double(Index),
    /// A part is taken from another credential.
    Borrow(Index, Index),
    /// A part is given other bytes, or other JSON.
    Put(Index, Vec<u8>),
    /// A field of the header is set.
    Head(&'static str, Value),
}

fn harms() -> impl Strategy<Value = Harm> {
    let place = any::<Index>;
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \u{e9}";
    let fields = select(vec![
        "alg", "enc", "kid", "crit", "zip", "typ", "jku", "jwk", "x5u", "b64",
    ]);
    prop_oneof![
        (place(), 0..8_u8).prop_map(|(at, bit)| Harm::FlipBit(at, bit)),
        (place(), select(letters.chars().collect::<Vec<_>>()))
            .prop_map(|(at, letter)| Harm::Write(at, letter)),
        place().prop_map(Harm::Cut),
        (place(), "[ -~\u{0}-\u{1f}]{1,20}|\\.{1,4}|={1,2}|A{10000}")
            .prop_map(|(at, text)| Harm::Insert(at, text)),
        (place(), place()).prop_map(|(one, other)| Harm::Swap(one, other)),
        place().prop_map(Harm::Remove),
        place().prop_map(Harm::Double),
        (place(), place()).prop_map(|(part, from)| Harm::Borrow(part, from)),
        (place(), vec(any::<u8>(), 0..80)).prop_map(|(part, bytes)| Harm::Put(part, bytes)),
        (place(), claims()).prop_map(|(part, json)| Harm::Put(part, json.into_bytes())),
        (fields, header_values()).prop_map(|(name, value)| Harm::Head(name, value)),
    ]
}

fn header_values() -> impl Strategy<Value = Value> {
    let words = [
        "none",
        "None",
        "HS256",
        "HS384",
        "RS256",
        "PS256",
        "ES256",
        "EdDSA",
        "dir",
        "A128KW",
        "A256GCM",
        "A256CBC-HS512",
        "A128CBC-HS256",
        "DEF",
        "",
        "https://evil.example/keys",
    ];
    prop_oneof![
        select(words.to_vec()).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!(["exp"])),
        Just(json!({"kty": "oct", "k": "AAAA"})),
        any::<String>().prop_map(Value::from),
    ]
}

/// A credential with that done to it. `others` are what parts are borrowed from.
fn harmed(credential: &str, harms: &[Harm], others: &[&str]) -> String {
    harms.iter().fold(credential.to_owned(), |text, harm| {
        let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        let part = |at: &Index| at.index(parts.len());
        match harm {
            _ if text.is_empty() => return text,
            Harm::FlipBit(at, bit) => {
                let mut bytes = text.into_bytes();
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            Harm::Write(at, letter) => {
                let mut letters: Vec<char> = text.chars().collect();
                let at = at.index(letters.len());
                letters[at] = *letter;
                return letters.into_iter().collect();
            }
            Harm::Cut(at) => {
                let letters = text.chars().count();
                return text.chars().take(at.index(letters)).collect();
            }
            Harm::Insert(at, more) => {
                let mut letters: Vec<char> = text.chars().collect();
                let at = at.index(letters.len());
                letters.splice(at..at, more.chars());
                return letters.into_iter().collect();
            }
            Harm::Swap(one, other) => {
                let (one, other) = (part(one), part(other));
                parts.swap(one, other);
            }
            Harm::Remove(at) => {
                let at = part(at);
                parts.remove(at);
            }
            Harm::Double(at) => {
                let at = part(at);
                parts.insert(at, parts[at].clone());
            }
            Harm::Borrow(at, from) => {
                let at = part(at);
                let from = others[from.index(others.len())];
                parts[at] = from.split('.').nth(at).unwrap_or_default().to_owned();
            }
            Harm::Put(at, bytes) => {
                let at = part(at);
                parts[at] = URL_SAFE_NO_PAD.encode(bytes);
            }
            Harm::Head(name, value) => {
                let head = URL_SAFE_NO_PAD.decode(&parts[0]).unwrap_or_default();
                let mut head: Value = serde_json::from_slice(&head).unwrap_or_else(|_| json!({}));
                if head.is_object() {
                    head[*name] = value.clone();
                }
                parts[0] = URL_SAFE_NO_PAD.encode(head.to_string());
            }
        }
        parts.join(".")
    })
}

/// Numbers as JSON can have them, sensible and not.
fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        Just((NOW.as_millis() / 1000 + 60).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        "-?[1-9][0-9]{0,400}",
        "-?[0-9]\\.[0-9]{1,40}[eE][+-]?[0-9]{1,4}",
    ]
}

/// A value as it stands in JSON, rightly written or nearly.
fn written() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        numbers(),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "[a-zA-Z0-9:_ ]{0,200}".prop_map(|text| Value::from(text).to_string()),
        select(vec![
            "null",
            "true",
            "[]",
            "{}",
            "\"admin\"",
            "[\"ADMIN\"]",
            "\"campanile\"",
            "\"\\ud800\"",
            "nul",
            "\""
        ])
        .prop_map(str::to_owned),
    ];
    prop_oneof![
        4 => leaf.clone(),
        1 => vec(leaf.clone(), 0..40).prop_map(|values| format!("[{}]", values.join(","))),
        1 => (leaf.clone(), select(vec!["role", "roles"]))
            .prop_map(|(value, name)| format!("{{\"{name}\":{value}}}")),
        1 => (leaf, prop_oneof![1..200_usize, Just(9_000_usize)], any::<bool>())
            .prop_map(|(value, depth, lists)| {
                let (open, close) = if lists { ("[", "]") } else { ("{\"a\":", "}") };
                format!("{}{value}{}", open.repeat(depth), close.repeat(depth))
            }),
    ]
}

/// Claims of any kind as they stand in JSON. Half of them have all that is required.
fn claims() -> impl Strategy<Value = String> {
    let names = vec![
        "sub", "exp", "nbf", "iat", "iss", "aud", "roles", "role", "user", "scope", "jti", "",
    ];
    let field = (select(names), written()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    (any::<bool>(), vec(field, 0..6)).prop_map(|(whole, mut fields)| {
        if whole {
            let expires = NOW.as_millis() / 1000 + 60;
            fields.insert(0, format!("\"sub\":\"42\",\"exp\":{expires}"));
        }
        format!("{{{}}}", fields.join(","))
    })
}

/// Signed with the hub's own secret.
fn signed(claims: &str) -> String {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KNOWN.secret);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
    format!("{text}.{signature}")
}

/// Sealed with the site's secret, as version 4 does it.
fn sealed(claims: &str) -> String {
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(SECRET.as_bytes());
    let info = [b"NextAuth.js Generated Encryption Key".as_slice()];
    let key = key.expand(&info, &AES_256_GCM).expect("a key");
    let key = LessSafeKey::new(UnboundKey::from(key));
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256GCM"}"#);
    let iv = [7; 12];
    let mut text = claims.as_bytes().to_vec();
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(iv),
            Aad::from(head.as_bytes()),
            &mut text,
        )
        .expect("a tag");
    let [iv, text, tag] = [&iv, &*text, tag.as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{head}..{iv}.{text}.{tag}")
}

/// What everybody who meets a caller relies on.
fn is_somebody(caller: &Caller) {
    let user = caller.user().expect("a user");
    let usable = |name: &str| {
        assert!((1..=128).contains(&name.len()), "{name:?}");
        assert!(!name.chars().any(char::is_control), "{name:?}");
    };
    usable(&user.id);
    assert!(user.roles.len() <= MAX_TOKEN_ROLES);
    user.roles.iter().for_each(|role| usable(role));
    assert!(user.expires_at.saturating_add(LEEWAY) > NOW, "it has ended");
    assert!(user.expires_at <= Timestamp::MAX);
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_token_to_which_anything_was_done_opens_nothing(
        which in any::<Index>(),
        harms in vec(harms(), 1..4),
    ) {
        let tokens = &KNOWN.tokens;
        let others: Vec<&str> = tokens.iter().map(|(token, _)| &**token).collect();
        let token = harmed(others[which.index(others.len())], &harms, &others);
        let issued = tokens.iter().find(|(good, _)| *good == token);
        let caller = KNOWN.authenticator.token(&token, NOW).ok();
        prop_assert_eq!(caller.as_ref(), issued.map(|(_, caller)| caller), "{}", token);
    }

    #[test]
    fn a_session_to_which_anything_was_done_opens_nothing(
        which in any::<Index>(),
        harms in vec(harms(), 1..4),
    ) {
        let (cookie, good) = *which.get(&SESSIONS);
        let others = SESSIONS.map(|(_, session)| session);
        let harmed = harmed(good, &harms, &others);
        let caller = session(cookie, &harmed);
        prop_assert_eq!(caller.is_ok(), SESSIONS.contains(&(cookie, &*harmed)), "{}", harmed);
    }

    #[test]
    fn whatever_a_token_says_its_bearer_is_somebody_or_it_is_refused(claims in claims()) {
        if let Ok(caller) = KNOWN.authenticator.token(&signed(&claims), NOW) {
            is_somebody(&caller);
            // Only words of a text give scopes.
            let scope = &serde_json::from_str::<Value>(&claims).expect("JSON")["scope"];
            let says = |word: &str| scope.to_string().contains(word);
            let scopes = caller.scopes();
            prop_assert!(!scopes.admin || says("admin"), "{}", claims);
            prop_assert!(!scopes.publish || says("publish") || scopes.admin, "{}", claims);
        }
    }

    #[test]
    fn whatever_a_session_says_its_bearer_is_somebody_without_scopes_or_it_is_refused(
        claims in claims(),
    ) {
        if let Ok(caller) = session(V4, &sealed(&claims)) {
            is_somebody(&caller);
            prop_assert_eq!(caller.scopes(), Scopes::default());
        }
    }
}

#[test]
fn what_is_sealed_and_signed_here_opens_the_hub_when_it_is_right() {
    let expires = NOW.as_millis() / 1000 + 60;
    let claims = format!("{{\"sub\":\"42\",\"exp\":{expires},\"roles\":[\"CREW\"]}}");
    for caller in [
        KNOWN.authenticator.token(&signed(&claims), NOW),
        session(V4, &sealed(&claims)),
    ] {
        let caller = caller.expect("a caller");
        is_somebody(&caller);
        assert_eq!(&*caller.user().expect("a user").id, "42");
    }
}
