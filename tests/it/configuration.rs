//! The configuration does what its own documentation says, and a slip in it is told in one line that names the place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use campanile::auth::Scope;
use campanile::config::{self, Config, DEFAULTS, Environment, Setting, duration};

fn load_file(text: &str, variables: &[(&str, &str)], flags: &[Setting]) -> Result<Config, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("hub.toml");
    std::fs::write(&file, text).expect("a file");
    let environment = variables.iter().copied().collect();
    Config::load(Some(&file), &environment, flags).map_err(|error| {
        let place = format!("{}/", directory.path().display());
        error.to_string().replace(&place, "")
    })
}

fn load_environment(variables: &[(&str, &str)]) -> Result<Config, String> {
    load_file("", variables, &[])
}

#[track_caller]
fn refused(outcome: Result<Config, String>, line: &str) {
    assert_eq!(outcome.map(|_| ()), Err(line.to_owned()));
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let documented: Config = toml::from_str(DEFAULTS).expect("the defaults parse");
    assert_eq!(documented, Config::default());
    assert_eq!(Config::default().validate(), Ok(()));
}

#[test]
fn every_key_stands_in_the_documentation_under_its_section() {
    // Every optional key has a value here, so that all of them are serialised.
    let mut config = Config::default();
    config.serve.database = Some("x".to_owned());
    config.serve.alias = Some("/x".to_owned());
    config.auth.cookie = Some("x".to_owned());
    config.auth.audience = Some("x".to_owned());
    config.auth.nextauth_secret = Some(config::SecretText::new("x"));
    config.auth.nextauth_secret_file = Some("x".into());
    config.auth.nextauth_cookie = Some("x".to_owned());
    config.serve.metrics_listen = Some(config.serve.listen);
    config.tls.certificate = Some("x".into());
    config.tls.key = Some("x".into());
    config.tls.hsts = Some(Duration::ZERO);
    let all = toml::Table::try_from(&config).expect("a table");
    let mut documented: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in DEFAULTS.lines() {
        let line = line.trim_start_matches("# ");
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            let keys = documented.entry(section.clone()).or_default();
            keys.push(key.to_owned());
        }
    }
    for (section, keys) in &all {
        for key in keys.as_table().expect("a section").keys() {
            assert!(
                documented[section].contains(key),
                "[{section}] {key} is not documented"
            );
        }
    }
    let issuer = config::Issuer {
        issuer: Some("x".to_owned()),
        jwks_url: Some("x".to_owned()),
        key_file: Some("x".into()),
        secret_file: Some("x".into()),
        ..config::Issuer::default()
    };
    for key in toml::Table::try_from(&issuer).expect("a table").keys() {
        assert!(
            documented["[auth.issuers]"].contains(key),
            "{key} of an issuer is not documented"
        );
    }
}

#[test]
fn what_is_effective_can_be_loaded_again() {
    let config = load_environment(&[
        ("CAMPANILE_DELIVERY_RETRY", "500ms,1m 30s"),
        (
            "CAMPANILE_AUTH_ROLE_SCOPES",
            r#"{ "Chef d'équipe" = ["publish"] }"#,
        ),
        ("CAMPANILE_SERVE_ALIAS", "/api/notifications/ws"),
    ]);
    let config = config.expect("a configuration");
    let printed = toml::to_string(&config).expect("it prints");
    assert_eq!(load_file(&printed, &[], &[]), Ok(config));
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file_which_wins_over_defaults() {
    let file = "[stream]\nheartbeat = \"20s\"\nidle_limit = \"70s\"\nsweep = \"40s\"\n";
    let variables = [
        ("CAMPANILE_STREAM_HEARTBEAT", "25s"),
        ("CAMPANILE_STREAM_IDLE_LIMIT", "80s"),
    ];
    let flags = [Setting::flag("--heartbeat", "stream.heartbeat", "30s")];
    let stream = load_file(file, &variables, &flags)
        .expect("a configuration")
        .stream;
    assert_eq!(stream.heartbeat, Duration::from_secs(30));
    assert_eq!(stream.idle_limit, Duration::from_secs(80));
    assert_eq!(stream.sweep, Duration::from_secs(40));
    assert_eq!(stream.per_user, 20);
}

#[test]
fn the_environment_reaches_every_type_of_value() {
    let config = load_environment(&[
        ("CAMPANILE_SERVE_LISTEN", "[::1]:9000"),
        ("CAMPANILE_SERVE_DATA", "/var/lib/campanile"),
        (
            "CAMPANILE_SERVE_CORS_ORIGINS",
            "https://a.example, https://b.example:8443",
        ),
        ("CAMPANILE_DELIVERY_RETRY", r#"["2s"]"#),
        ("CAMPANILE_DELIVERY_MAX_QUEUE", "5"),
        ("CAMPANILE_AUTH_COOKIE", "session"),
        ("CAMPANILE_AUTH_QUERY_TOKEN", "true"),
        ("CAMPANILE_AUTH_ROLE_SCOPES", r#"{ADMIN = ["admin"]}"#),
        ("CAMPANILE_TEST_RATE_PER_MINUTE", "7"),
    ]);
    let config = config.expect("a configuration");
    assert_eq!(config.serve.listen.to_string(), "[::1]:9000");
    assert_eq!(config.serve.data, PathBuf::from("/var/lib/campanile"));
    assert_eq!(
        config.serve.secret_path(),
        PathBuf::from("/var/lib/campanile/secret")
    );
    assert_eq!(
        config.serve.database_path(),
        PathBuf::from("/var/lib/campanile/campanile.db")
    );
    assert_eq!(
        config.serve.cors_origins,
        ["https://a.example", "https://b.example:8443"]
    );
    assert_eq!(config.delivery.retry, [Duration::from_secs(2)]);
    assert_eq!(config.delivery.max_queue, 5);
    assert_eq!(config.auth.cookie.as_deref(), Some("session"));
    assert!(config.auth.query_token);
    assert_eq!(config.auth.role_scopes["ADMIN"], [Scope::Admin]);
    assert_eq!(config.test_rate.per_minute, 7);
}

#[test]
fn an_empty_list_of_retries_can_be_said() {
    let config = load_environment(&[("CAMPANILE_DELIVERY_RETRY", "[]")]).expect("a configuration");
    assert!(config.delivery.retry.is_empty());
}

#[test]
fn empty_variables_and_those_of_kubernetes_change_nothing() {
    let config = load_environment(&[
        ("CAMPANILE_AUTH_COOKIE", ""),
        ("CAMPANILE_PORT", "tcp://10.0.0.7:8400"),
        ("CAMPANILE_PORT_8400_TCP_ADDR", "10.0.0.7"),
        ("CAMPANILE_SERVICE_HOST", "10.0.0.7"),
        ("CAMPANILE_LOG", "debug"),
        ("CAMPANILE_TOKEN", "x.y.z"),
        ("HOME", "/root"),
    ]);
    assert_eq!(config, Ok(Config::default()));
}

#[test]
fn the_environment_is_printed_without_its_values() {
    let environment: Environment = [("CAMPANILE_TOKEN", "x.y.z")].into_iter().collect();
    assert_eq!(environment.token().expect("UTF-8"), Some("x.y.z"));
    assert_eq!(format!("{environment:?}"), r#"{"CAMPANILE_TOKEN"}"#);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let known = "`listen`, `metrics_listen`, `data`, `database`, `header_timeout`, `body_timeout`, `drain`, `max_connections`, `per_address`, `trusted_proxies`, `alias`, \
                 `cors_origins`";
    refused(
        load_file("# mine\n[serve]\nlistne = \"127.0.0.1:1\"\n", &[], &[]),
        &format!("hub.toml:3: serve.listne: unknown field `listne`, expected one of {known}"),
    );
    refused(
        load_file("[strem]\n", &[], &[]),
        "hub.toml:1: strem: unknown field `strem`, expected one of `serve`, `tls`, `stream`, `delivery`, `reference`, `auth`, \
         `retention`, `test_rate`, `publish_rate`, `webhooks`",
    );
    refused(
        load_environment(&[("CAMPANILE_SERVE_LISTNE", "127.0.0.1:1")]),
        &format!(
            "CAMPANILE_SERVE_LISTNE: serve.listne: unknown field `listne`, expected one of {known}"
        ),
    );
    refused(
        load_environment(&[("CAMPANILE_STREM_SWEEP", "1s")]),
        "CAMPANILE_STREM_SWEEP: no such setting: after CAMPANILE_ comes one of AUTH, DELIVERY, PUBLISH_RATE, REFERENCE, RETENTION, SERVE, \
         STREAM, TEST_RATE, TLS, WEBHOOKS, then _ and a key",
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_place() {
    refused(
        load_file("[stream]\n\nper_user = \"many\"\n", &[], &[]),
        "hub.toml:3: stream.per_user: invalid type: string \"many\", expected a whole number",
    );
    refused(
        load_file("[stream]\nheartbeat = 15\n", &[], &[]),
        "hub.toml:2: stream.heartbeat: invalid type: integer `15`, expected a string",
    );
    refused(
        load_environment(&[("CAMPANILE_STREAM_PER_USER", "many")]),
        "CAMPANILE_STREAM_PER_USER: stream.per_user: invalid type: string \"many\", expected a whole number",
    );
    let durations = "must be a duration such as \"500ms\", \"15s\", \"1m 30s\", \"1h\" or \"30d\"";
    refused(
        load_environment(&[("CAMPANILE_STREAM_HEARTBEAT", "15")]),
        &format!("CAMPANILE_STREAM_HEARTBEAT: stream.heartbeat: {durations}"),
    );
    refused(
        load_file(
            "",
            &[],
            &[Setting::flag("--retry", "delivery.retry", "1s,often")],
        ),
        &format!("--retry: delivery.retry: {durations}"),
    );
    refused(
        load_environment(&[("CAMPANILE_SERVE_LISTEN", "localhost")]),
        "CAMPANILE_SERVE_LISTEN: serve.listen: must be an IP address and a port, such as \"127.0.0.1:8400\" or \
         \"[::1]:8400\"",
    );
}

#[test]
fn a_value_out_of_bounds_is_blamed_on_the_layer_that_set_it_last() {
    let file = "[stream]\nsweep = \"1s\"\nheartbeat = \"10m\"\n";
    refused(
        load_file(file, &[], &[]),
        "hub.toml:3: stream.heartbeat: must be 1s to 5m, not 10m",
    );
    refused(
        load_file(file, &[("CAMPANILE_STREAM_HEARTBEAT", "1ms")], &[]),
        "CAMPANILE_STREAM_HEARTBEAT: stream.heartbeat: must be 1s to 5m, not 1ms",
    );
    let flag = Setting::flag("--heartbeat", "stream.heartbeat", "1h");
    refused(
        load_file(file, &[("CAMPANILE_STREAM_HEARTBEAT", "1ms")], &[flag]),
        "--heartbeat: stream.heartbeat: must be 1s to 5m, not 1h",
    );
    refused(
        load_environment(&[("CAMPANILE_STREAM_REPLAY_PAGE", "0")]),
        "CAMPANILE_STREAM_REPLAY_PAGE: stream.replay_page: must be 1 to 1000, not 0",
    );
}

#[test]
fn syntax_errors_are_one_line_with_a_place() {
    let error = load_file("[serve]\nlisten = \n", &[], &[]).expect_err("no value");
    assert!(error.starts_with("hub.toml:2: "), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let missing = PathBuf::from("no/such/hub.toml");
    let environment: Environment = [("CAMPANILE_CONFIG", "no/such/hub.toml")]
        .into_iter()
        .collect();
    for outcome in [
        Config::load(Some(&missing), &Environment::default(), &[]),
        Config::load(None, &environment, &[]),
    ] {
        let error = outcome.expect_err("no file").to_string();
        assert!(
            error.starts_with("no/such/hub.toml: cannot be read: "),
            "{error}"
        );
    }
}

#[test]
fn values_that_would_only_look_as_if_they_worked_are_refused() {
    for (name, value, problem) in [
        ("CAMPANILE_SERVE_CORS_ORIGINS", "*", "must name each origin"),
        (
            "CAMPANILE_SERVE_CORS_ORIGINS",
            "null",
            "must name each origin",
        ),
        (
            "CAMPANILE_SERVE_CORS_ORIGINS",
            "https://a.example/",
            "as browsers send them",
        ),
        (
            "CAMPANILE_SERVE_CORS_ORIGINS",
            "HTTPS://A.example",
            "as browsers send them",
        ),
        (
            "CAMPANILE_SERVE_CORS_ORIGINS",
            "a.example",
            "as browsers send them",
        ),
        (
            "CAMPANILE_SERVE_CORS_ORIGINS",
            "https://a.example:443",
            "the default port",
        ),
        (
            "CAMPANILE_SERVE_DATABASE",
            "postgres://localhost/hub",
            "is not in this version",
        ),
        (
            "CAMPANILE_SERVE_DATABASE",
            "mysql://localhost/hub",
            "not a URL",
        ),
        ("CAMPANILE_SERVE_ALIAS", "api", "must be a path"),
        ("CAMPANILE_SERVE_ALIAS", "/api/{action}", "must be a path"),
        (
            "CAMPANILE_AUTH_COOKIE",
            "my cookie",
            "must be a cookie's name",
        ),
        (
            "CAMPANILE_AUTH_ROLE_SCOPES",
            "{ADMIN = []}",
            "or leave it out",
        ),
        (
            "CAMPANILE_AUTH_ROLE_SCOPES",
            "{ADMIN = [\"root\"]}",
            "unknown variant `root`",
        ),
        (
            "CAMPANILE_STREAM_RETRY_MIN",
            "1m",
            "must not be more than stream.retry_max",
        ),
        ("CAMPANILE_DELIVERY_RETRY", "0s", "must be 1ms to 1h"),
        ("CAMPANILE_WEBHOOKS_RETRY", "10s,25h", "must be 1ms to 1d"),
        ("CAMPANILE_WEBHOOKS_TIMEOUT", "2m", "must be 100ms to 1m"),
        (
            "CAMPANILE_WEBHOOKS_DISABLE_AFTER",
            "0s",
            "must be 1s to 365d",
        ),
        (
            "CAMPANILE_WEBHOOKS_ADMIN_ROLES",
            "OPS,",
            "a role must not be empty",
        ),
        (
            "CAMPANILE_WEBHOOKS_ALLOW",
            "127.0.0.0/8,10.0.0.0/33",
            "must be a block of addresses",
        ),
    ] {
        let error = load_environment(&[(name, value)]).expect_err(value);
        assert!(error.starts_with(&format!("{name}: ")), "{value}: {error}");
        assert!(error.contains(problem), "{value}: {error}");
        assert!(!error.contains('\n'), "{value}: {error}");
    }
}

#[test]
fn browsers_are_sent_over_tls_alone_for_whole_seconds_and_only_by_a_hub_that_has_it() {
    let with = |more: &str| {
        let file = format!("[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\nhsts = \"{more}\"\n");
        load_file(&file, &[], &[]).map(|config| config.tls.hsts)
    };
    assert_eq!(with("365d"), Ok(Some(Duration::from_hours(365 * 24))));
    assert_eq!(with("0s"), Ok(Some(Duration::ZERO)), "which takes it back");
    for (value, problem) in [
        ("731d", "must be 0s to 730d, not 731d"),
        ("500ms", "must be whole seconds"),
    ] {
        let refusal = format!("hub.toml:4: tls.hsts: {problem}");
        assert_eq!(with(value), Err(refusal), "{value}");
    }
    refused(
        load_environment(&[("CAMPANILE_TLS_HSTS", "1d")]),
        "CAMPANILE_TLS_HSTS: tls.hsts: needs tls.certificate and tls.key beside it",
    );
}

#[test]
fn durations_read_what_they_write() {
    for (text, millis) in [
        ("0s", 0),
        ("500ms", 500),
        ("15s", 15_000),
        ("1m 30s", 90_000),
        ("1m30s", 90_000),
        (" 1 h ", 3_600_000),
        ("30d", 2_592_000_000),
        ("1d 2h 3m 4s 5ms", 93_784_005),
    ] {
        let read = duration::parse(text).expect(text);
        assert_eq!(read, Duration::from_millis(millis), "{text}");
        assert_eq!(duration::parse(&duration::format(read)), Ok(read), "{text}");
    }
    assert_eq!(duration::format(Duration::from_secs(90)), "1m 30s");
    for text in [
        "",
        " ",
        "15",
        "s",
        "-1s",
        "1.5s",
        "1s 1s",
        "1s 1m",
        "1w",
        "1 2s",
        "99999999999999999999s",
        "18446744073709551615d",
        "١s",
    ] {
        assert!(duration::parse(text).is_err(), "{text:?}");
    }
}
