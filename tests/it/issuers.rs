//! Tokens of other issuers: which of them open this hub, what they may say, and what must not happen.

mod keys;
mod published;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile::auth::{AuthError, Authenticator, Caller, Mint, Scope, Scopes, Secret};
use campanile::clock::Timestamp;
use campanile::config::{Auth, Config, Issuer, SigningAlgorithm};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{SigningKey, jwks};

const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);
const NOW_SECONDS: u64 = NOW.as_millis() / 1000;
const REALM: &str = "https://login.example/realms/shop";

/// Made once: an RSA key takes a moment.
static RSA: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::new("rsa-1", Algorithm::RS256));

/// A hub that knows other issuers by files of its own.
struct Hub {
    files: TempDir,
    auth: Auth,
}

impl Hub {
    fn new() -> Self {
        Self {
            files: tempfile::tempdir().expect("a directory"),
            auth: Auth::default(),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Knows one more, by these public keys.
    fn knows(mut self, keys: &str, change: impl FnOnce(&mut Issuer)) -> Self {
        let name = format!("keys-{}", self.auth.issuers.len());
        let mut issuer = Issuer {
            issuer: Some(REALM.to_owned()),
            key_file: Some(self.file(&name, keys)),
            audience: vec!["campanile".to_owned()],
            ..Issuer::default()
        };
        change(&mut issuer);
        self.auth.issuers.push(issuer);
        self
    }

    fn authenticator(&self) -> Authenticator {
        let config = Config {
            auth: self.auth.clone(),
            ..Config::default()
        };
        assert_eq!(config.validate(), Ok(()));
        Authenticator::new(Secret::random(), &self.auth)
            .with_issuers(&self.auth)
            .expect("the keys can be read")
    }

    fn caller(&self, token: &str) -> Result<Caller, AuthError> {
        self.authenticator().token(token, NOW)
    }

    fn refuses(&self, token: &str, why: AuthError) {
        assert_eq!(self.caller(token), Err(why));
    }
}

/// One that knows the realm by the RSA key.
fn hub() -> Hub {
    Hub::new().knows(&jwks(&[&RSA]), |_| {})
}

/// The claims of a token that the realm has issued for this hub, with these instead.
fn claims(more: Value) -> Value {
    let mut claims = json!({
        "iss": REALM, "sub": "42", "aud": "campanile", "iat": NOW_SECONDS, "exp": NOW_SECONDS + 60
    });
    for (name, value) in more.as_object().expect("an object") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn roles(caller: &Caller) -> Vec<&str> {
    let user = caller.user().expect("a user");
    user.roles.iter().map(|role| &**role).collect()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn a_token_of_a_known_issuer_names_its_user_and_publisher() {
    let caller = hub().caller(&RSA.sign(&claims(json!({"roles": ["CREW"]}))));
    let caller = caller.expect("a caller");
    assert_eq!(&*caller.user().expect("a user").id, "42");
    assert_eq!(roles(&caller), ["CREW"]);
    assert_eq!(caller.scopes(), Scopes::default());
    assert_eq!(&*caller.publisher(), format!("user:{REALM}/42"));
}

#[test]
fn a_token_without_a_signature_opens_nothing() {
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let head = part(&json!({"alg": none, "typ": "JWT", "kid": "rsa-1"}));
        for signature in ["", "AAAA"] {
            let token = format!("{head}.{}.{signature}", part(&claims(json!({}))));
            hub().refuses(&token, AuthError::Malformed);
        }
    }
    let signed = RSA.sign(&claims(json!({})));
    let (message, _) = signed.rsplit_once('.').expect("three parts");
    hub().refuses(&format!("{message}."), AuthError::BadSignature);
    hub().refuses(message, AuthError::Malformed);
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let pem = RSA.pem();
    for keys in [pem.clone(), jwks(&[&RSA])] {
        let hub = Hub::new().knows(&keys, |_| {});
        for secret in [pem.as_str(), pem.trim(), &keys] {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let mut header = Header::new(algorithm);
                header.kid = Some("rsa-1".to_owned());
                let key = EncodingKey::from_secret(secret.as_bytes());
                let token = jsonwebtoken::encode(&header, &claims(json!({})), &key);
                hub.refuses(&token.expect("a token"), AuthError::Algorithm);
            }
        }
    }
}

#[test]
fn a_key_that_the_token_brings_along_is_ignored() {
    let thief = SigningKey::new("rsa-1", Algorithm::ES256);
    let own_key: jsonwebtoken::jwk::Jwk = serde_json::from_value(thief.jwk()).expect("a JWK");
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("rsa-1".to_owned());
    header.jwk = Some(own_key);
    header.jku = Some("https://thief.example/jwks".to_owned());
    header.x5u = Some("https://thief.example/cert".to_owned());
    let token = thief.sign_with(&header, &claims(json!({})));
    hub().refuses(&token, AuthError::Algorithm);
    let known = SigningKey::new("rsa-1", Algorithm::ES256);
    let hub = Hub::new().knows(&jwks(&[&known]), |_| {});
    hub.refuses(&token, AuthError::BadSignature);
    // With the right key they do no harm either.
    let token = known.sign_with(&header, &claims(json!({})));
    assert!(hub.caller(&token).is_ok());
}

#[test]
fn an_extension_that_must_be_understood_refuses_the_token() {
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("rsa-1".to_owned());
    header.crit = Some(vec!["exp".to_owned()]);
    let token = RSA.sign_with(&header, &claims(json!({})));
    hub().refuses(&token, AuthError::Algorithm);
}

#[test]
fn a_token_signed_with_an_unknown_key_opens_nothing() {
    let stranger = SigningKey::new("rsa-2", Algorithm::RS256);
    hub().refuses(&stranger.sign(&claims(json!({}))), AuthError::UnknownKeyId);
    let impostor = SigningKey::new("rsa-1", Algorithm::RS256);
    hub().refuses(&impostor.sign(&claims(json!({}))), AuthError::BadSignature);
}

#[test]
fn another_realms_token_opens_nothing() {
    // Signed with the right key, as where realms share one, and by a realm that is known under its own name only.
    for other in [
        "https://login.example/realms/other",
        "",
        "HTTPS://LOGIN.EXAMPLE/realms/shop",
    ] {
        hub().refuses(&RSA.sign(&claims(json!({"iss": other}))), AuthError::Issuer);
    }
    // Without a name it could only be the hub's own.
    hub().refuses(
        &RSA.sign(&claims(json!({"iss": null}))),
        AuthError::Algorithm,
    );
    hub().refuses(&RSA.sign(&claims(json!({"iss": 7}))), AuthError::Algorithm);
    let second = SigningKey::new("second", Algorithm::ES256);
    let hub = hub().knows(&jwks(&[&second]), |issuer| {
        issuer.issuer = Some("https://second.example".to_owned());
    });
    let its_own = claims(json!({"iss": "https://second.example"}));
    assert!(hub.caller(&second.sign(&its_own)).is_ok());
    hub.refuses(&second.sign(&claims(json!({}))), AuthError::UnknownKeyId);
}

#[test]
fn an_issuer_without_a_name_does_not_speak_for_one_that_has_one() {
    let nameless = SigningKey::new("nameless", Algorithm::ES256);
    let hub = hub().knows(&jwks(&[&nameless]), |issuer| issuer.issuer = None);
    for anybody in [json!({"iss": null}), json!({"iss": "https://shop.example"})] {
        let caller = hub.caller(&nameless.sign(&claims(anybody)));
        assert_eq!(&*caller.expect("a caller").publisher(), "user:jwt/42");
    }
    let as_the_realm = nameless.sign(&claims(json!({})));
    hub.refuses(&as_the_realm, AuthError::UnknownKeyId);
}

#[test]
fn nobody_else_speaks_as_the_hub_itself() {
    let as_the_hub = json!({"iss": "campanile", "scope": "admin", "aud": null});
    hub().refuses(&RSA.sign(&claims(as_the_hub.clone())), AuthError::Algorithm);
    let nameless = Hub::new().knows(&jwks(&[&RSA]), |issuer| {
        issuer.issuer = None;
    });
    nameless.refuses(&RSA.sign(&claims(as_the_hub)), AuthError::Algorithm);
    let caller = nameless.caller(&RSA.sign(&claims(json!({"iss": null}))));
    assert_eq!(&*caller.expect("a caller").publisher(), "user:jwt/42");
}

#[test]
fn another_applications_token_opens_nothing() {
    for audience in [
        json!("shop"),
        json!(["shop", "account"]),
        json!(""),
        json!(7),
        json!({}),
    ] {
        let token = RSA.sign(&claims(json!({"aud": audience})));
        hub().refuses(&token, AuthError::Audience);
    }
    hub().refuses(
        &RSA.sign(&claims(json!({"aud": null}))),
        AuthError::Audience,
    );
    let both = RSA.sign(&claims(json!({"aud": ["account", "campanile"]})));
    assert!(hub().caller(&both).is_ok());
    let anybody = Hub::new().knows(&jwks(&[&RSA]), |issuer| {
        issuer.audience.clear();
        issuer.any_audience = true;
    });
    assert!(
        anybody
            .caller(&RSA.sign(&claims(json!({"aud": "shop"}))))
            .is_ok()
    );
    // The hub's own audience is what others must name where they have none of their own.
    let mut hub = Hub::new().knows(&jwks(&[&RSA]), |issuer| issuer.audience.clear());
    hub.auth.audience = Some("notifications".to_owned());
    hub.refuses(&RSA.sign(&claims(json!({}))), AuthError::Audience);
    let named = RSA.sign(&claims(json!({"aud": "notifications"})));
    assert!(hub.caller(&named).is_ok());
}

#[test]
fn another_applications_admin_is_not_ours() {
    let of = |hub: &Hub, more: Value| {
        let caller = hub.caller(&RSA.sign(&claims(more)));
        caller.expect("a caller").scopes()
    };
    let none = Scopes::default();
    for theirs in [
        json!({"scope": "openid admin publish"}),
        json!({"scope": ["admin"]}),
        json!({"scope": "campanile:root campanile: :admin CAMPANILE:ADMIN"}),
        json!({"scopes": "campanile:admin", "roles": ["admin", "campanile:admin"]}),
        json!({"roles": ["ADMIN"], "admin": true}),
    ] {
        assert_eq!(of(&hub(), theirs.clone()), none, "{theirs}");
    }
    let publish: Scopes = [Scope::Publish].into_iter().collect();
    let admin: Scopes = [Scope::Admin].into_iter().collect();
    assert_eq!(
        of(&hub(), json!({"scope": "openid campanile:publish"})),
        publish
    );
    assert_eq!(of(&hub(), json!({"scope": ["campanile:admin"]})), admin);
    // By a role only if the configuration says so.
    let mut hub = hub();
    hub.auth
        .role_scopes
        .insert("ADMIN".to_owned(), vec![Scope::Admin]);
    assert_eq!(of(&hub, json!({"roles": "ADMIN"})), admin);
    assert_eq!(of(&hub, json!({"roles": "admin"})), none);
}

#[test]
fn what_is_required_must_be_there_and_an_expired_token_opens_nothing() {
    let at = |more: Value| hub().caller(&RSA.sign(&claims(more))).map(|_| ());
    assert_eq!(at(json!({"exp": null})), Err(AuthError::Claim("exp")));
    assert_eq!(
        at(json!({"exp": "9999999999"})),
        Err(AuthError::Claim("exp"))
    );
    assert_eq!(at(json!({"exp": NOW_SECONDS - 4})), Ok(()));
    assert_eq!(at(json!({"exp": NOW_SECONDS - 5})), Err(AuthError::Expired));
    assert_eq!(at(json!({"nbf": NOW_SECONDS + 5})), Ok(()));
    assert_eq!(
        at(json!({"nbf": NOW_SECONDS + 6})),
        Err(AuthError::NotYetValid)
    );
    for nobody in [
        json!(null),
        json!(""),
        json!(["42"]),
        json!({"id": 1}),
        json!(1.5),
    ] {
        let refused = at(json!({"sub": nobody}));
        let expected = [Err(AuthError::Claim("sub")), Err(AuthError::Malformed)];
        assert!(expected.contains(&refused), "{nobody}: {refused:?}");
    }
}

#[test]
fn keycloaks_tokens_work_as_issued() {
    let hub = Hub::new().knows(&jwks(&[&RSA]), |issuer| {
        issuer.role_claims = vec![
            "realm_access.roles".to_owned(),
            "resource_access.shop.web.roles".to_owned(),
        ];
    });
    let token = RSA.sign(&json!({
        "exp": NOW_SECONDS + 300, "iat": NOW_SECONDS, "jti": "b4c0fd7c-7c80-4d3a-8a51-1d3f0f0f2c11",
        "iss": REALM, "aud": ["campanile", "account"], "sub": "f:5b0d:42", "typ": "Bearer", "azp": "shop.web",
        "session_state": "e2f9", "acr": "1", "allowed-origins": ["https://shop.example"],
        "realm_access": {"roles": ["offline_access", "ADMIN"]},
        "resource_access": {"shop.web": {"roles": ["seller"]}, "account": {"roles": ["manage-account"]}},
        "scope": "openid email profile", "email_verified": true, "preferred_username": "ann"
    }));
    let caller = hub.caller(&token).expect("a caller");
    assert_eq!(&*caller.user().expect("a user").id, "f:5b0d:42");
    assert_eq!(roles(&caller), ["offline_access", "ADMIN", "seller"]);
    assert_eq!(caller.scopes(), Scopes::default());
}

#[test]
fn auth0s_tokens_work_as_issued() {
    let hub = Hub::new().knows(&jwks(&[&RSA]), |issuer| {
        issuer.issuer = Some("https://shop.eu.auth0.com/".to_owned());
        issuer.audience = vec!["https://notify.shop.example/".to_owned()];
        issuer.role_claims = vec!["https://shop.example/roles".to_owned()];
    });
    let token = RSA.sign(&json!({
        "https://shop.example/roles": ["ADMIN", "MANAGER"],
        "iss": "https://shop.eu.auth0.com/", "sub": "auth0|64b7f3",
        "aud": ["https://notify.shop.example/", "https://shop.eu.auth0.com/userinfo"],
        "iat": NOW_SECONDS, "exp": NOW_SECONDS + 86_400, "azp": "my_client_id",
        "scope": "openid profile read:admin", "permissions": ["admin"]
    }));
    let caller = hub.caller(&token).expect("a caller");
    assert_eq!(&*caller.user().expect("a user").id, "auth0|64b7f3");
    assert_eq!(roles(&caller), ["ADMIN", "MANAGER"]);
    assert_eq!(caller.scopes(), Scopes::default());
}

#[test]
fn cognitos_access_tokens_which_have_no_aud_work_as_issued() {
    let pool = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI";
    let hub = Hub::new().knows(&jwks(&[&RSA]), |issuer| {
        issuer.issuer = Some(pool.to_owned());
        issuer.audience = vec!["1example23456789".to_owned()];
        issuer.audience_claim = "client_id".to_owned();
        issuer.role_claims = vec!["cognito:groups".to_owned()];
        issuer.user_claim = "username".to_owned();
    });
    let token = |client: &str| {
        RSA.sign(&json!({
            "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "device_key": "x", "cognito:groups": ["admin"],
            "token_use": "access", "scope": "aws.cognito.signin.user.admin", "auth_time": NOW_SECONDS,
            "iss": pool, "exp": NOW_SECONDS + 3600, "iat": NOW_SECONDS, "version": 2,
            "jti": "j", "client_id": client, "username": "janedoe@example.com"
        }))
    };
    let caller = hub.caller(&token("1example23456789")).expect("a caller");
    assert_eq!(&*caller.user().expect("a user").id, "janedoe@example.com");
    assert_eq!(roles(&caller), ["admin"]);
    assert_eq!(caller.scopes(), Scopes::default());
    hub.refuses(&token("another-client"), AuthError::Audience);
}

#[test]
fn a_claim_is_found_by_its_whole_name_before_its_parts() {
    let of = |path: &str, more: Value| {
        let hub = Hub::new().knows(&jwks(&[&RSA]), |issuer| {
            issuer.role_claims = vec![path.to_owned()];
        });
        let caller = hub.caller(&RSA.sign(&claims(more))).expect("a caller");
        roles(&caller).join(",")
    };
    assert_eq!(
        of("a.b", json!({"a.b": "WHOLE", "a": {"b": "PARTS"}})),
        "WHOLE"
    );
    assert_eq!(of("a.b", json!({"a": {"b": ["PARTS"]}})), "PARTS");
    assert_eq!(of("a.b.c", json!({"a.b": {"c": "X"}})), "X");
    assert_eq!(of("a.b.c", json!({"a": {"b.c": "X"}})), "X");
    for nothing in [
        json!({"a": "b"}),
        json!({"a": ["b"]}),
        json!({"b": "X"}),
        json!({"a": null}),
    ] {
        assert_eq!(of("a.b", nothing), "");
    }
}

#[test]
fn a_user_may_be_a_number_or_stand_in_another_claim() {
    let hub = Hub::new().knows(&jwks(&[&RSA]), |issuer| {
        issuer.user_claim = "user.id".to_owned()
    });
    let caller = hub.caller(&RSA.sign(&claims(json!({"user": {"id": 42}}))));
    assert_eq!(
        &*caller.expect("a caller").publisher(),
        format!("user:{REALM}/42")
    );
    hub.refuses(
        &RSA.sign(&claims(json!({}))),
        AuthError::Claim("user claim"),
    );
}

#[test]
fn a_hub_that_would_open_to_others_applications_does_not_start() {
    let config = |change: &dyn Fn(&mut Issuer)| {
        let mut config = Config::default();
        let mut issuer = Issuer {
            key_file: Some("key.pem".into()),
            audience: vec!["campanile".to_owned()],
            ..Issuer::default()
        };
        change(&mut issuer);
        config.auth.issuers.push(issuer);
        config.validate().map_err(|error| error.to_string())
    };
    assert_eq!(config(&|_| {}), Ok(()));
    for (change, words) in [
        (
            (&|it: &mut Issuer| it.audience.clear()) as &dyn Fn(&mut Issuer),
            "number 1: must have an audience",
        ),
        (
            &|it| it.any_audience = true,
            "an audience or any_audience, not both",
        ),
        (
            &|it| it.key_file = None,
            "one of jwks_url, key_file and secret_file",
        ),
        (&|it| it.secret_file = Some("x".into()), "one of jwks_url"),
        (
            &|it| it.issuer = Some("campanile".into()),
            "must not be \"campanile\"",
        ),
        (&|it| it.issuer = Some("campanile/42".into()), "must not be"),
        (
            &|it| it.user_claim = String::new(),
            "user_claim must be 1 to",
        ),
        (
            &|it| (it.key_file, it.jwks_url) = (None, Some("http://login.example/jwks".into())),
            "jwks_url must begin with https://",
        ),
        (
            &|it| (it.key_file, it.jwks_url) = (None, Some("ftp://localhost/".into())),
            "jwks_url must begin with https://",
        ),
        (
            &|it| (it.key_file, it.jwks_url) = (None, Some("login.example".into())),
            "jwks_url must be a URL",
        ),
    ] {
        let refused = config(change).expect_err(words);
        assert!(refused.starts_with("auth.issuers: "), "{refused}");
        assert!(refused.contains(words), "{refused} does not say {words}");
        assert_eq!(refused.lines().count(), 1);
    }
    for fine in [
        "http://127.0.0.1:1/x",
        "http://[::1]/x",
        "http://localhost/x",
        "https://a.b/x",
    ] {
        let taken = config(&|it| (it.key_file, it.jwks_url) = (None, Some(fine.into())));
        assert_eq!(taken, Ok(()), "{fine}");
    }
    let within = |it: &mut Issuer| it.issuer = Some(REALM.to_owned());
    let mut config = Config::default();
    for name in [REALM.to_owned(), format!("{REALM}/x")] {
        let mut issuer = Issuer {
            key_file: Some("x".into()),
            audience: vec!["x".to_owned()],
            ..Issuer::default()
        };
        within(&mut issuer);
        issuer.issuer = Some(name);
        config.auth.issuers.push(issuer);
    }
    let refused = config.validate().expect_err("publishers could be confused");
    assert!(refused.to_string().contains("number 2: issuer must not be"));
}

#[test]
fn algorithms_that_are_not_configured_are_refused() {
    let pss = Hub::new().knows(&RSA.pem(), |issuer| {
        issuer.algorithms = vec![SigningAlgorithm::PS256];
    });
    assert!(
        pss.caller(&RSA.sign_as(Algorithm::PS256, &claims(json!({}))))
            .is_ok()
    );
    for other in [Algorithm::PS384, Algorithm::RS256] {
        pss.refuses(
            &RSA.sign_as(other, &claims(json!({}))),
            AuthError::Algorithm,
        );
    }
    let pkcs1 = Hub::new().knows(&RSA.pem(), |_| {});
    pkcs1.refuses(
        &RSA.sign_as(Algorithm::PS256, &claims(json!({}))),
        AuthError::Algorithm,
    );
    // A key that says what it is for is for nothing else.
    hub().refuses(
        &RSA.sign_as(Algorithm::RS512, &claims(json!({}))),
        AuthError::Algorithm,
    );
    let leeway = Auth::default().leeway;
    assert_eq!(leeway, Duration::from_secs(5));
}

#[tokio::test]
async fn a_token_that_is_known_already_is_held_to_its_time_like_any_other() {
    let authenticator = hub().authenticator();
    let token = RSA.sign(&claims(json!({"nbf": NOW_SECONDS})));
    let minute = Duration::from_secs(60);
    let (before, after) = (
        Timestamp::from_millis(NOW.as_millis() - 120_000),
        NOW.saturating_add(minute * 3),
    );
    for (moment, refused) in [
        (before, Some(AuthError::NotYetValid)),
        (NOW, None),
        (before, Some(AuthError::NotYetValid)),
        (NOW.saturating_add(minute / 2), None),
        (after, Some(AuthError::Expired)),
        (NOW, None),
    ] {
        let caller = authenticator.recognise(&token, moment).await;
        assert_eq!(caller.err(), refused, "at {moment:?}");
        // Nobody else's token is taken for it.
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{message}.{other}{}", &signature[1..]);
        let forged = authenticator.recognise(&forged, NOW).await;
        assert_eq!(forged, Err(AuthError::BadSignature));
    }
}

#[tokio::test]
async fn more_tokens_than_are_remembered_are_all_recognised_as_whose_they_are() {
    let authenticator = Hub::new().authenticator();
    let mint = |n: usize| Mint {
        user: n.to_string(),
        roles: Vec::new(),
        scopes: Scopes::default(),
        ttl: Duration::from_secs(60),
    };
    let tokens: Vec<String> = (0..2_000)
        .map(|n| authenticator.mint(mint(n), NOW))
        .collect();
    // One that is used all the time, between others that are used twice.
    for round in 0..2 {
        for (n, token) in tokens.iter().enumerate() {
            for (n, token) in [(n, token), (0, &tokens[0])] {
                let caller = authenticator.recognise(token, NOW).await.expect("a caller");
                let user = caller.user().expect("a user");
                assert_eq!(*user.id, *n.to_string(), "round {round}");
            }
        }
    }
}
