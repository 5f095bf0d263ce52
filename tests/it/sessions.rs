//! Sessions of NextAuth.js and Auth.js: the cookies as the libraries make them, and what must not pass for one. The ones
//! here were made with `next-auth` 4.24.11 and `@auth/core` 0.41.3; `tests/clients` makes new ones.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile::auth::{AuthError, Authenticator, Caller, Scope, Scopes, Secret};
use campanile::clock::Timestamp;
use campanile::config::{Auth, SecretText};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::support::{BinaryHub, TestHub, binary};

pub const SECRET: &str = "the secret of a site, made with openssl rand";
/// After all of them were made.
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

pub const V5: &str = "authjs.session-token";
pub const V5_SECURE: &str = "__Secure-authjs.session-token";
pub const V4: &str = "next-auth.session-token";

pub const OF_V5: &str = concat!(
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiOHFpM1hxdEJYZjVDUDBoLTFHem5xWDZf",
    "bGRqdXhOazZ4WThGR2pkYkFZN0RvSVJvMFJrd0pXb3otSEpNSkc4SjdKa1d2dy1aOGQyTjZqODhqQTNMeUEifQ..",
    "HqRasJGRLNx7mL_lYUvjdw.j8P_uV9_KIinkZfMck2rihmpnsNMGXM2asRsKhOmMbHEdxnNeWNJg4yloQzAd8NFi",
    "3O5Q1PWj11Bv9hPaEOw67ycR8aVzG5L2meIwcJM8wjWQ690bUJM2Sdf0zJNrKrHyws94gdSx_lvxPu0QeSElT61P",
    "BleK5ViWocYY00sdX-1IIO-zcan5MbRV6u8uDq2aabh4boPTBhbUy00S-AlZlYYfRAp4w1n037kFkeadrWgDifTn",
    "RTtqNta63o6JaHY.kj-xGBayyU2YR7RryE9EkZX77PFotlTovHQS9qyc1Bs",
);
pub const OF_V5_SECURE: &str = concat!(
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiZmlFa1RwMDZzdWYxb2VnNnU0M1NxMFlQ",
    "NEVRSEZSbDczZ3h1WmRwVm5WSWw2MG1aRG1LY3d1R0hMTzNHcDVRY1hxcll3emhpQ1BHTkFCUnJFMlR6dncifQ..",
    "3NmtWzO65zMI2BdXUZjgEw.sFeL84MuwXLVOpZszSXTsVq5p19pLD32cIdHBYlZcG_ZWvqBTWUQCTo4iTHkdZ99J",
    "pzRRuGmVGscEzwDeOoYnBmTpjqWQP-nQPB5bCnvS8Sh2yB0sZBbqBHrdXHG4kmKpMt4BEh_apMK8Ka51NmATFjv_",
    "ftjDXIhQ4--h4sIccoQkp5y8kMvFTl5h6OGlLq1bbY_b85KUcgMwS-D-oev91SIDrQQ8rvN_VBbZVZ_bGUP0xuPO",
    "BqDt7WWM1rbn3vt.xYtq3b6dT0UxQe3lwzJss8r6dRJCcEUDLgsmG3kS-8c",
);
pub const OF_V5_WITH_GCM: &str = concat!(
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoibHBOQzZ1X2tYdTctM0RxT2o4Tk9CLVl0dTI0MFFJ",
    "TDNUY2ZqbW1kQUI5SSJ9..R6Gl_SsIGYIRlviX.ML61N7YOKd_Y2AoScfa5qrgj41tyCD7IhpDhk0HIVvVLNIGgx",
    "RDBeMnGFiIVYUjDPvBIUUOJoCqAh3ZPRf7sEVgG1OZxxwP-5FQfXzGgrBweEBUApyAqyVs6XBhTbMlldude5KH2H",
    "lirVHkx5kYtvkIPsH9LNxoAjvd7tXpsRK5YD82-olyxSaGrQD9octhA7l5heS9_SP8.jMFaUtNswsCnIL9tuvXO6",
    "A",
);
pub const OF_V4: &str = concat!(
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..tUZhm_oOTJ0Xc6kj.6NUOLzzgHBwtjzZUALnjHp-58sDJsr",
    "7r9feKPxtp7sKQrh0GYG_s-trGmj0z9jz9Zb2v7YXlWxbCxOTQJ1jLTyIR7ziDFscs5lfms-6QBCCzP3a_nE0iFX",
    "HxTGKDR09HoK4QKoIkUvByERSgAmD63RxeYTDCI7H2tmTILSryaVyXL7BmB3nmTKqXyqlaZOufQ_DT1P5pN8ZQkx",
    "LL6TlrydMM0vbmf53cjXDQxavpiqiPZLWGPqTJQpZtEg.HA7MmKEtLzVpAe344X9wZQ",
);

fn auth() -> Auth {
    Auth {
        nextauth_secret: Some(SecretText::new(SECRET)),
        ..Auth::default()
    }
}

fn hub(auth: &Auth) -> Authenticator {
    Authenticator::new(Secret::random(), auth)
        .with_sessions(auth)
        .expect("the secrets can be read")
}

async fn caller(auth: &Auth, cookie: &str, session: &str) -> Result<Caller, AuthError> {
    hub(auth).session(cookie, session, NOW).await
}

fn roles(caller: &Caller) -> Vec<&str> {
    let user = caller.user().expect("a user");
    user.roles.iter().map(|role| &**role).collect()
}

#[tokio::test]
async fn sessions_of_both_versions_are_read_as_they_are() {
    for (cookie, session) in [
        (V5, OF_V5),
        (V5, OF_V5_WITH_GCM),
        (V5_SECURE, OF_V5_SECURE),
        (V4, OF_V4),
        // Version 4 salts nothing with the name.
        ("__Secure-next-auth.session-token", OF_V4),
    ] {
        let caller = caller(&auth(), cookie, session).await.expect(cookie);
        assert_eq!(&*caller.publisher(), "user:nextauth/42", "{cookie}");
        assert_eq!(roles(&caller), ["ADMIN", "SALES", "CREW"], "{cookie}");
        assert_eq!(caller.scopes(), Scopes::default(), "{cookie}");
    }
}

#[tokio::test]
async fn user_and_roles_stand_where_the_configuration_says() {
    let of = async |user: &str, from: &[&str]| {
        let auth = Auth {
            nextauth_user_claim: user.to_owned(),
            nextauth_role_claims: from.iter().map(|it| (*it).to_owned()).collect(),
            ..auth()
        };
        let caller = caller(&auth, V5, OF_V5).await?;
        let roles = roles(&caller).join(",");
        Ok((caller.user().expect("a user").id.to_string(), roles))
    };
    let is = |user: &str, roles: &str| Ok((user.to_owned(), roles.to_owned()));
    assert_eq!(
        of("email", &["role"]).await,
        is("ann@shop.example", "ADMIN")
    );
    assert_eq!(of("user.id", &["user.roles"]).await, is("7", "SALES,CREW"));
    assert_eq!(of("sub", &[]).await, is("42", ""));
    let missing: Result<(String, String), _> = Err(AuthError::Claim("user claim"));
    assert_eq!(of("nothing", &[]).await, missing);
    let mut by_role = auth();
    let admin = vec![Scope::Admin];
    by_role.role_scopes.insert("ADMIN".to_owned(), admin);
    let scopes = caller(&by_role, V4, OF_V4)
        .await
        .expect("a caller")
        .scopes();
    assert!(scopes.admin);
}

#[tokio::test]
async fn a_session_of_another_site_or_under_another_cookies_name_opens_nothing() {
    let other = Auth {
        nextauth_secret: Some(SecretText::new("the secret of another site")),
        ..Auth::default()
    };
    for (cookie, session) in [(V5, OF_V5), (V5, OF_V5_WITH_GCM), (V4, OF_V4)] {
        let refused = caller(&other, cookie, session).await;
        assert_eq!(refused, Err(AuthError::Session), "{cookie}");
    }
    for (cookie, session) in [(V5, OF_V5_SECURE), (V5_SECURE, OF_V5), (V4, OF_V5)] {
        let refused = caller(&auth(), cookie, session).await;
        assert_eq!(refused, Err(AuthError::Session), "{cookie}");
    }
    let unknown = caller(&auth(), "session", OF_V4).await;
    assert_eq!(unknown, Err(AuthError::Session));
    let without = caller(&Auth::default(), V5, OF_V5).await;
    assert_eq!(without, Err(AuthError::Missing));
}

#[tokio::test]
async fn a_session_of_which_one_character_was_changed_opens_nothing_wherever_it_stands() {
    let hub = hub(&auth());
    for (cookie, session) in [(V5, OF_V5), (V5, OF_V5_WITH_GCM), (V4, OF_V4)] {
        for (place, byte) in session.bytes().enumerate() {
            // The last character of a part may hold bits that mean nothing: those are refused too.
            let other = if byte == b'A' { 'B' } else { 'A' };
            if byte == b'.' {
                continue;
            }
            let changed = format!("{}{other}{}", &session[..place], &session[place + 1..]);
            let refused = hub.session(cookie, &changed, NOW).await;
            assert!(refused.is_err(), "{cookie} at {place}: {refused:?}");
        }
    }
    // Whatever is wrong with what was sealed, it looks the same: tag, text, padding and vector.
    let parts: Vec<&str> = OF_V5.split('.').collect();
    for part in 2..5 {
        for place in [0, parts[part].len() / 2] {
            let mut changed: Vec<String> = parts.iter().map(|it| (*it).to_owned()).collect();
            let other = if parts[part].as_bytes()[place] == b'A' {
                "B"
            } else {
                "A"
            };
            changed[part].replace_range(place..=place, other);
            let refused = hub.session(V5, &changed.join("."), NOW).await;
            assert_eq!(refused, Err(AuthError::Session));
        }
    }
}

#[tokio::test]
async fn a_session_encrypted_or_compressed_in_another_way_opens_nothing() {
    let (_, rest) = OF_V4.split_once('.').expect("five parts");
    for (head, why) in [
        (
            json!({"alg": "dir", "enc": "A128GCM"}),
            AuthError::Algorithm,
        ),
        (
            json!({"alg": "A256KW", "enc": "A256GCM"}),
            AuthError::Algorithm,
        ),
        (
            json!({"alg": "none", "enc": "A256GCM"}),
            AuthError::Algorithm,
        ),
        (
            json!({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}),
            AuthError::Algorithm,
        ),
        (
            json!({"alg": "dir", "enc": "A256GCM", "crit": ["x"]}),
            AuthError::Algorithm,
        ),
        (
            json!({"alg": "dir", "enc": "A256GCM", "kid": "x"}),
            AuthError::Session,
        ),
        (
            json!({"alg": "dir", "enc": "A256CBC-HS512"}),
            AuthError::Session,
        ),
        (json!({"enc": "A256GCM"}), AuthError::Malformed),
        (json!([]), AuthError::Malformed),
    ] {
        let head_text = URL_SAFE_NO_PAD.encode(head.to_string());
        let refused = caller(&auth(), V4, &format!("{head_text}.{rest}")).await;
        assert_eq!(refused, Err(why), "{head}");
    }
    let parts: Vec<&str> = OF_V4.split('.').collect();
    let short_tag = &parts[4][..16];
    let [head, _, iv, sealed, tag] = parts[..] else {
        panic!("five parts");
    };
    for (wrong, why) in [
        (
            format!("{head}..{iv}.{sealed}.{short_tag}"),
            AuthError::Session,
        ),
        (format!("{head}..{iv}.{sealed}."), AuthError::Session),
        (format!("{head}...{sealed}.{tag}"), AuthError::Session),
        (format!("{head}..{iv}..{tag}"), AuthError::Session),
        (
            format!("{head}.AAAA.{iv}.{sealed}.{tag}"),
            AuthError::Malformed,
        ),
        (
            format!("{head}..{iv}.{sealed}.{tag}."),
            AuthError::Malformed,
        ),
        (
            format!("{head}..{iv}.{sealed}.{tag}=="),
            AuthError::Malformed,
        ),
        ("....".to_owned(), AuthError::Malformed),
        (format!("x.{}", "y".repeat(70_000)), AuthError::Malformed),
    ] {
        assert_eq!(caller(&auth(), V4, &wrong).await, Err(why), "{wrong:.80}");
    }
}

#[tokio::test]
async fn an_expired_session_opens_nothing() {
    let far = Timestamp::from_millis(1_795_000_000_000 + 51 * 365 * 86_400_000);
    let refused = hub(&auth()).session(V5, OF_V5, far).await;
    assert_eq!(refused, Err(AuthError::Expired));
}

#[tokio::test]
async fn a_database_session_is_refused_with_a_line_that_says_so() {
    let opaque = "7f3c1d0e-8f5a-4c55-9d8e-0a3a4f5b6c7d";
    let refused = caller(&auth(), V5, opaque)
        .await
        .expect_err("it says nothing");
    assert_eq!(refused, AuthError::DatabaseSession);
    let line = refused.to_string();
    assert!(line.contains("kept in the site's database"), "{line}");
    assert!(line.contains("strategy: \"jwt\""), "{line}");
    assert!(!line.contains(opaque) && line.lines().count() == 1);
}

#[tokio::test]
async fn sessions_from_before_a_change_of_the_secret_are_still_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secrets");
    std::fs::write(&path, format!("the new secret of the site\n\n  {SECRET}\n")).expect("a file");
    let auth = Auth {
        nextauth_secret_file: Some(path.clone()),
        ..Auth::default()
    };
    for (cookie, session) in [(V5, OF_V5), (V5, OF_V5_WITH_GCM), (V4, OF_V4)] {
        assert!(caller(&auth, cookie, session).await.is_ok(), "{cookie}");
    }
    for wrong in ["", "\n \n", &"x\n".repeat(11), &"x".repeat(5000)] {
        std::fs::write(&path, wrong).expect("a file");
        let refused = Authenticator::new(Secret::random(), &auth).with_sessions(&auth);
        let line = refused.expect_err("no secrets").to_string();
        assert!(line.starts_with("auth.nextauth_secret_file: /"), "{line}");
        assert!(line.contains("must hold 1 to 10 secrets"), "{line}");
    }
}

fn get(hub: &TestHub, cookies: &str) -> RequestBuilder {
    let request = hub.client().get(hub.url("/notifications/status"));
    request.header("cookie", cookies)
}

async fn status(request: RequestBuilder) -> u16 {
    let answer = request.send().await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn a_signed_in_user_opens_a_stream_with_their_cookie_whole_or_in_parts() {
    let hub = TestHub::with(|config| config.auth.nextauth_secret = auth().nextauth_secret).await;
    let (first, rest) = OF_V5_SECURE.split_at(200);
    let (second, third) = rest.split_at(150);
    for cookies in [
        format!("theme=dark; {V5}={OF_V5}"),
        format!("{V4}={OF_V4}"),
        // In the order in which browsers may send them.
        format!("{V5_SECURE}.1={second}; {V5_SECURE}.0={first}; {V5_SECURE}.2={third}"),
        // Nobody without TLS can set the one with the prefix, so it is the one that is believed.
        format!("{V5}=planted; {V5_SECURE}={OF_V5_SECURE}; {V4}=planted"),
    ] {
        assert_eq!(status(get(&hub, &cookies)).await, 200, "{cookies:.60}");
    }
    let stream = hub.client().get(hub.url("/notifications/stream"));
    let stream = stream.header("cookie", format!("{V5}={OF_V5}"));
    let mut stream = stream.send().await.expect("an answer");
    let chunk = stream.chunk().await.unwrap().expect("an event");
    let connected = String::from_utf8_lossy(&chunk);
    assert!(connected.contains(r#""userId":"42""#), "{connected}");
    assert!(
        connected.contains(r#""roles":["ADMIN","SALES","CREW"]"#),
        "{connected}"
    );

    let many: Vec<String> = (0..=16).map(|n| format!("{V5}.{n}=AAAA")).collect();
    for cookies in [
        format!("{V5_SECURE}.0={first}; {V5_SECURE}.2={third}"),
        format!("{V5_SECURE}.1={second}; {V5_SECURE}.2={third}"),
        format!("{V5}={OF_V5_SECURE}"),
        format!("session={OF_V5}"),
        many.join("; "),
        format!("{V5}=7f3c1d0e-8f5a-4c55-9d8e-0a3a4f5b6c7d"),
    ] {
        assert_eq!(status(get(&hub, &cookies)).await, 401, "{cookies:.60}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_with_a_session() {
    let hub = TestHub::with(|config| config.auth.nextauth_secret = auth().nextauth_secret).await;
    let write = |site: &str| {
        let request = hub.client().post(hub.url("/notifications/test"));
        let request = request.header("cookie", format!("{V5}={OF_V5}"));
        status(request.header("sec-fetch-site", site))
    };
    assert_eq!(write("cross-site").await, 403);
    assert_eq!(write("same-site").await, 403);
    assert_eq!(write("same-origin").await, 201);
    let bearer = get(&hub, &format!("{V5}={OF_V5}")).bearer_auth("garbage");
    assert_eq!(status(bearer).await, 401, "a bearer wins over a session");
    hub.stop().await;
}

#[tokio::test]
async fn a_cookie_with_a_name_of_its_own_is_found_and_those_of_the_library_are_not() {
    let hub = TestHub::with(|config| {
        config.auth.nextauth_secret = auth().nextauth_secret;
        config.auth.nextauth_cookie = Some("shop.session".to_owned());
    })
    .await;
    assert_eq!(
        status(get(&hub, &format!("shop.session={OF_V4}"))).await,
        200
    );
    assert_eq!(status(get(&hub, &format!("{V4}={OF_V4}"))).await, 401);
    hub.stop().await;
}

async fn signed_in(data: &Path, flags: &[&str], variables: &[(&str, &str)]) -> u16 {
    let hub = BinaryHub::serve_with(data, flags, variables).await;
    let request = reqwest::Client::new().get(hub.url("/notifications/status"));
    let status = status(request.header("cookie", format!("{V5}={OF_V5}"))).await;
    hub.terminate().await;
    status
}

#[tokio::test]
async fn the_secret_comes_by_a_flag_a_file_or_a_variable() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let file = directory.path().join("secret");
    std::fs::write(&file, SECRET).expect("a file");
    let path = file.to_str().expect("UTF-8");
    assert_eq!(signed_in(&data, &[], &[]).await, 401);
    for (flags, variables) in [
        (&["--nextauth-secret", SECRET][..], &[][..]),
        (&["--nextauth-secret-file", path], &[]),
        (&[], &[("CAMPANILE_AUTH_NEXTAUTH_SECRET", SECRET)]),
        (&[], &[("CAMPANILE_AUTH_NEXTAUTH_SECRET_FILE", path)]),
    ] {
        assert_eq!(signed_in(&data, flags, variables).await, 200, "{flags:?}");
    }
}

#[tokio::test]
async fn a_secret_in_the_configuration_is_printed_nowhere() {
    let shown = format!("{:?} {:?}", auth(), hub(&auth()));
    assert!(!shown.contains(SECRET), "{shown}");
    let output = binary()
        .args(["config", "--effective"])
        .env("CAMPANILE_AUTH_NEXTAUTH_SECRET", SECRET)
        .output()
        .await
        .expect("the binary runs");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        printed.contains("nextauth_secret = \"(not shown)\""),
        "{printed}"
    );
    assert!(!printed.contains(SECRET));
    // A slip is told without it, too; and what was printed is not taken for the secret.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("campanile.toml");
    for (value, words) in [
        ("123454321", "must be a text"),
        ("[\"hunter2\"]", "must be a text"),
        ("\"(not shown)\"", "must be the secret itself"),
    ] {
        std::fs::write(&file, format!("[auth]\nnextauth_secret = {value}\n")).expect("a file");
        let output = binary()
            .args(["config", "--effective", "--config"])
            .arg(&file)
            .output()
            .await
            .expect("the binary runs");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.contains(words), "{said}");
        assert!(said.contains("campanile.toml:2"), "{said}");
        for secret in ["12345", "hunter2"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}
