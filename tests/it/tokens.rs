//! Who a credential makes its bearer: what is accepted, what is refused and why, and that nothing secret is shown.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile::auth::{
    AuthError, Authenticator, Caller, MAX_TOKEN_BYTES, MAX_TOKEN_ROLES, Mint, Scope, Scopes,
    Secret, StoredKey, new_key,
};
use campanile::clock::Timestamp;
use campanile::config;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);
const NOW_SECONDS: u64 = NOW.as_millis() / 1000;

/// An authenticator whose secret the test knows too, as a backend that shares it would.
struct Hub {
    authenticator: Authenticator,
    shared: Vec<u8>,
    _directory: tempfile::TempDir,
}

impl Hub {
    fn new() -> Self {
        Self::with(&config::Auth::default())
    }

    fn with(config: &config::Auth) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        let secret = Secret::load_or_create(&path).expect("a secret");
        let text = std::fs::read_to_string(&path).expect("its file");
        Self {
            authenticator: Authenticator::new(secret, config),
            shared: URL_SAFE_NO_PAD.decode(text.trim()).expect("base64url"),
            _directory: directory,
        }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_secret(&self.shared);
        jsonwebtoken::encode(header, claims, &key).expect("a token")
    }

    fn caller(&self, claims: &Value) -> Result<Caller, AuthError> {
        let token = self.sign(&Header::new(Algorithm::HS256), claims);
        self.authenticator.token(&token, NOW)
    }

    fn mint(&self, scopes: Scopes, roles: &[&str]) -> String {
        let mint = Mint {
            user: "42".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            scopes,
            ttl: Duration::from_secs(60),
        };
        self.authenticator.mint(mint, NOW)
    }
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "42", "exp": NOW_SECONDS + 60});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn roles(caller: &Caller) -> Vec<&str> {
    let user = caller.user().expect("a user");
    user.roles.iter().map(|role| &**role).collect()
}

fn scopes(list: &[Scope]) -> Scopes {
    list.iter().copied().collect()
}

#[test]
fn a_minted_token_names_its_user_roles_and_scopes() {
    let hub = Hub::new();
    let token = hub.mint(scopes(&[Scope::Publish]), &["ADMIN", "Chef d'équipe"]);
    let caller = hub.authenticator.token(&token, NOW).expect("a caller");
    let user = caller.user().expect("a user");
    assert_eq!(&*user.id, "42");
    assert_eq!(user.expires_at, NOW.saturating_add(Duration::from_secs(60)));
    assert_eq!(roles(&caller), ["ADMIN", "Chef d'équipe"]);
    assert_eq!(
        caller.scopes(),
        Scopes {
            publish: true,
            admin: false
        }
    );
    assert_eq!(&*caller.publisher(), "user:campanile/42");
}

#[test]
fn a_token_without_scope_reads_only_and_one_for_admins_also_publishes() {
    let hub = Hub::new();
    let of = |scope: &str| {
        hub.caller(&claims(json!({"scope": scope})))
            .map(|caller| caller.scopes())
    };
    assert_eq!(of(""), Ok(Scopes::default()));
    assert_eq!(of("openid profile"), Ok(Scopes::default()));
    assert_eq!(of("openid publish"), Ok(scopes(&[Scope::Publish])));
    assert_eq!(
        of("admin"),
        Ok(Scopes {
            publish: true,
            admin: true
        })
    );
    assert_eq!(scopes(&[Scope::Admin]).to_string(), "publish admin");
}

#[test]
fn roles_give_the_scopes_that_the_configuration_says() {
    let mut config = config::Auth::default();
    config
        .role_scopes
        .insert("Chef d'e\u{301}quipe".to_owned(), vec![Scope::Publish]);
    config
        .role_scopes
        .insert("ADMIN".to_owned(), vec![Scope::Admin]);
    let hub = Hub::with(&config);
    let of = |roles: Value| {
        hub.caller(&claims(json!({"roles": roles})))
            .map(|caller| caller.scopes())
    };
    assert_eq!(of(json!(["GUEST"])), Ok(Scopes::default()));
    assert_eq!(
        of(json!(["GUEST", "Chef d'équipe"])),
        Ok(scopes(&[Scope::Publish]))
    );
    assert_eq!(of(json!("ADMIN")), Ok(scopes(&[Scope::Admin])));
    assert_eq!(of(json!("admin")), Ok(Scopes::default()));
}

#[test]
fn a_role_that_cannot_be_used_does_not_take_the_others_with_it() {
    let hub = Hub::new();
    let of = |list: Value| {
        let caller = hub
            .caller(&claims(json!({"roles": list})))
            .expect("a caller");
        roles(&caller).join(",")
    };
    let long = "r".repeat(129);
    assert_eq!(
        of(json!(["A", "", "B\n", long, 7, null, "e\u{301}", "é", "A"])),
        "A,é"
    );
    assert_eq!(of(json!("SINGLE")), "SINGLE");
    assert_eq!(of(json!(null)), "");
    assert_eq!(of(json!({"no": "list"})), "");
    let many: Vec<String> = (0..=MAX_TOKEN_ROLES).map(|n| n.to_string()).collect();
    assert_eq!(of(json!(many)), many[..MAX_TOKEN_ROLES].join(","));
}

#[test]
fn a_subject_that_cannot_be_used_refuses_the_token() {
    let hub = Hub::new();
    for subject in [
        json!(""),
        json!("a\u{0}b"),
        json!("x".repeat(129)),
        json!("a\u{2028}b"),
    ] {
        let refused = hub.caller(&claims(json!({"sub": subject})));
        assert_eq!(refused, Err(AuthError::Claim("sub")), "{subject}");
    }
    assert_eq!(
        hub.caller(&json!({"exp": NOW_SECONDS + 60})),
        Err(AuthError::Claim("sub"))
    );
    assert_eq!(
        hub.caller(&claims(json!({"sub": 4.2}))),
        Err(AuthError::Claim("sub"))
    );
    let normal = hub
        .caller(&claims(json!({"sub": "rene\u{301}"})))
        .expect("a caller");
    assert_eq!(&*normal.publisher(), "user:campanile/rené");
}

#[test]
fn expiry_is_required_and_counts_from_the_clock_that_is_handed_in() {
    let hub = Hub::new();
    let at = |exp: Value| hub.caller(&claims(json!({"exp": exp}))).map(|_| ());
    assert_eq!(
        hub.caller(&json!({"sub": "42"})),
        Err(AuthError::Claim("exp"))
    );
    assert_eq!(at(json!("tomorrow")), Err(AuthError::Claim("exp")));
    assert_eq!(at(json!(-1)), Err(AuthError::Claim("exp")));
    // The leeway is 5 s: within it the token still counts, and at its end no longer.
    assert_eq!(at(json!(NOW_SECONDS - 4)), Ok(()));
    assert_eq!(at(json!(NOW_SECONDS - 5)), Err(AuthError::Expired));
    assert_eq!(at(json!(NOW_SECONDS as f64 + 0.5)), Ok(()));
    assert_eq!(at(json!(1e300)), Ok(()));
}

#[test]
fn a_token_is_refused_before_its_time() {
    let hub = Hub::new();
    let at = |nbf: u64| hub.caller(&claims(json!({"nbf": nbf}))).map(|_| ());
    assert_eq!(at(NOW_SECONDS + 5), Ok(()));
    assert_eq!(at(NOW_SECONDS + 6), Err(AuthError::NotYetValid));
}

#[test]
fn another_issuer_does_not_speak_with_the_hubs_own_key() {
    let hub = Hub::new();
    assert!(hub.caller(&claims(json!({"iss": "campanile"}))).is_ok());
    assert_eq!(
        hub.caller(&claims(json!({"iss": "shop"}))),
        Err(AuthError::Issuer)
    );
}

#[test]
fn the_audience_must_be_the_hub() {
    let config = config::Auth {
        audience: Some("hub".to_owned()),
        ..config::Auth::default()
    };
    let hub = Hub::with(&config);
    assert!(hub.caller(&claims(json!({"aud": "hub"}))).is_ok());
    assert!(hub.caller(&claims(json!({"aud": ["shop", "hub"]}))).is_ok());
    assert_eq!(
        hub.caller(&claims(json!({"aud": "shop"}))),
        Err(AuthError::Audience)
    );
    assert_eq!(hub.caller(&claims(json!({}))), Err(AuthError::Audience));
    let minted = hub.mint(Scopes::default(), &[]);
    assert!(hub.authenticator.token(&minted, NOW).is_ok());
    // RFC 7519, 4.1.3: with no audience of its own, a hub is not who any audience means.
    assert_eq!(
        Hub::new().caller(&claims(json!({"aud": "shop"}))),
        Err(AuthError::Audience)
    );
}

#[test]
fn only_the_algorithm_of_the_key_is_accepted() {
    let hub = Hub::new();
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = hub.sign(&Header::new(algorithm), &claims(json!({})));
        assert_eq!(
            hub.authenticator.token(&token, NOW),
            Err(AuthError::Algorithm)
        );
    }
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!(
        "{}.{}.",
        part(json!({"alg": "none"})),
        part(claims(json!({})))
    );
    assert_eq!(
        hub.authenticator.token(&unsigned, NOW),
        Err(AuthError::Malformed)
    );
    let public = format!(
        "{}.{}.AAAA",
        part(json!({"alg": "RS256"})),
        part(claims(json!({})))
    );
    assert_eq!(
        hub.authenticator.token(&public, NOW),
        Err(AuthError::Algorithm)
    );
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["b64".to_owned()]);
    let token = hub.sign(&critical, &claims(json!({})));
    assert_eq!(
        hub.authenticator.token(&token, NOW),
        Err(AuthError::Algorithm)
    );
}

#[test]
fn what_somebody_else_signed_or_changed_is_refused() {
    let hub = Hub::new();
    let foreign = Hub::new().mint(scopes(&[Scope::Admin]), &[]);
    assert_eq!(
        hub.authenticator.token(&foreign, NOW),
        Err(AuthError::BadSignature)
    );
    let own = hub.mint(Scopes::default(), &[]);
    let (message, signature) = own.rsplit_once('.').expect("three parts");
    let (header, _) = message.split_once('.').expect("three parts");
    let claims = URL_SAFE_NO_PAD.encode(claims(json!({"scope": "admin"})).to_string());
    let changed = format!("{header}.{claims}.{signature}");
    assert_eq!(
        hub.authenticator.token(&changed, NOW),
        Err(AuthError::BadSignature)
    );
}

#[test]
fn garbage_is_refused_without_being_repeated() {
    let hub = Hub::new();
    assert_eq!(hub.authenticator.token("", NOW), Err(AuthError::Missing));
    let endless = "x".repeat(MAX_TOKEN_BYTES + 1);
    for garbage in [
        "hunter2",
        "hunter2.hunter2.hunter2",
        "..",
        "\u{0}",
        "é.é.é",
        &endless,
    ] {
        let error = hub.authenticator.token(garbage, NOW).expect_err("garbage");
        assert_eq!(error, AuthError::Malformed);
        assert!(!error.to_string().contains("hunter2"));
    }
    let deep = URL_SAFE_NO_PAD.encode("[".repeat(8_000));
    let token = format!("{deep}.{deep}.");
    assert!(hub.authenticator.token(&token, NOW).is_err());
}

#[test]
fn an_api_key_is_a_publisher_by_its_name_and_no_user() {
    let hub = Hub::new();
    let (key, stored) = new_key("billing", scopes(&[Scope::Publish]), NOW);
    assert_eq!(key.len(), 4 + 43);
    assert!(key.starts_with("cmp_"));
    assert_eq!(
        hub.authenticator.token(&key, NOW),
        Err(AuthError::UnknownKey)
    );
    hub.authenticator.keys().insert(stored);
    let caller = hub.authenticator.token(&key, NOW).expect("a caller");
    assert_eq!(&*caller.publisher(), "key:billing");
    assert_eq!(caller.scopes(), scopes(&[Scope::Publish]));
    assert_eq!(caller.user(), None);
    let last = if key.ends_with('A') { 'B' } else { 'A' };
    let wrong = format!("{}{last}", &key[..key.len() - 1]);
    assert_eq!(
        hub.authenticator.token(&wrong, NOW),
        Err(AuthError::UnknownKey)
    );
}

#[test]
fn a_revoked_key_is_refused_at_once_and_after_a_restart() {
    let hub = Hub::new();
    let keys = hub.authenticator.keys();
    let (key, stored) = new_key("billing", scopes(&[Scope::Publish]), NOW);
    let (other, kept) = new_key("orders", scopes(&[Scope::Publish]), NOW);
    keys.load([stored.clone(), kept.clone()]);
    assert!(keys.revoke("billing"));
    assert!(!keys.revoke("billing"));
    assert!(!keys.revoke("nobody"));
    assert_eq!(hub.authenticator.token(&key, NOW), Err(AuthError::Revoked));
    assert!(hub.authenticator.token(&other, NOW).is_ok());
    let revoked = StoredKey {
        revoked_at: Some(NOW),
        ..stored
    };
    keys.load([revoked, kept]);
    assert_eq!(hub.authenticator.token(&key, NOW), Err(AuthError::Revoked));
    assert!(hub.authenticator.token(&other, NOW).is_ok());
}

#[test]
fn the_secret_is_made_once_for_its_owner_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("data/secret");
    let first = Secret::load_or_create(&path).expect("a secret");
    let mode = |path: &std::path::Path| {
        let metadata = std::fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory.path().join("data")), 0o700);
    assert!(Secret::load_or_create(&path).expect("a secret") == first);
    let files = std::fs::read_dir(directory.path().join("data")).expect("a directory");
    assert_eq!(files.count(), 1, "nothing is left beside it");
}

#[test]
fn many_who_start_at_once_get_one_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    let barrier = Arc::new(std::sync::Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (path, barrier) = (path.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                Secret::load_or_create(&path).expect("a secret")
            })
        })
        .collect();
    let secrets: Vec<Secret> = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .collect();
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
}

#[test]
fn a_file_that_is_no_secret_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    for content in [
        "",
        "\n",
        "c2hvcnQ",
        "not base64url at all, but quite long enough to be a secret",
    ] {
        std::fs::write(&path, content).expect("a file");
        let error = Secret::load_or_create(&path)
            .expect_err(content)
            .to_string();
        assert!(
            error.contains("must be at least 32 bytes in base64url"),
            "{error}"
        );
        assert!(
            content.trim().is_empty() || !error.contains(content),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), content);
    }
}

#[test]
fn nothing_secret_is_printed_for_debugging() {
    let hub = Hub::new();
    let (key, stored) = new_key("billing", Scopes::default(), NOW);
    let secret = Secret::random();
    assert_eq!(format!("{secret:?}"), "Secret(…)");
    assert_eq!(format!("{:?}", hub.authenticator), "Authenticator { .. }");
    let printed = format!("{stored:?} {:?}", hub.authenticator.keys());
    assert!(
        !printed.contains(&key) && !printed.contains("hash"),
        "{printed}"
    );
}
