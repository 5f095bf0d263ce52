//! What each value may be. Types have already seen to numbers being numbers; here stand the limits that keep a
//! hub with a slip in its configuration from starting: a heartbeat of an hour, a page of nothing, a wildcard origin.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Auth, Config, Delivery, Retention, Serve, Stream, Tls, Webhooks, duration};
use crate::audience;
use crate::notification::MAX_ROLES;
use crate::reference::Zone;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// The longest path, cookie name or audience, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The most origins: each request with an `Origin` is compared with all of them.
const MAX_ORIGINS: usize = 100;

/// The most claims with roles.
const MAX_CLAIMS: usize = 20;

/// The most other issuers: a token that names none may be tried with the keys of all.
const MAX_ISSUERS: usize = 20;
/// The most blocks of proxies: each new connection's address is compared with all of them.
const MAX_PROXIES: usize = 100;

/// The most blocks of addresses: each address that is dialled is compared with all of them.
const MAX_ALLOWED: usize = 100;

/// A value that is not allowed, by its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct InvalidValue {
    /// The key with its section: `stream.heartbeat`.
    pub key: &'static str,
    /// What is allowed, as a sentence without its subject: `must be 1s to 5m, not 1h`.
    pub problem: String,
}

impl Config {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// The first value that is not allowed.
    pub fn validate(&self) -> Result<(), InvalidValue> {
        serve(&self.serve)?;
        tls(&self.tls)?;
        stream(&self.stream)?;
        delivery(&self.delivery)?;
        if let Err(unknown) = Zone::named(&self.reference.zone) {
            return invalid("reference.zone", &unknown.to_string());
        }
        auth(&self.auth)?;
        self.retention.validate()?;
        webhooks(&self.webhooks)?;
        within(
            "test_rate.per_minute",
            self.test_rate.per_minute,
            1..=10_000,
        )?;
        let rate = &self.publish_rate;
        within("publish_rate.per_second", rate.per_second, 0..=1_000_000)?;
        within("publish_rate.burst", rate.burst, 1..=1_000_000)
    }
}

fn serve(serve: &Serve) -> Result<(), InvalidValue> {
    if serve.data.as_os_str().is_empty() {
        return invalid("serve.data", "must name a directory");
    }
    if let Some(database) = &serve.database {
        database_path(database)?;
    }
    lasts(
        "serve.header_timeout",
        serve.header_timeout,
        SECOND..=5 * MINUTE,
    )?;
    lasts(
        "serve.body_timeout",
        serve.body_timeout,
        SECOND..=10 * MINUTE,
    )?;
    lasts("serve.drain", serve.drain, Duration::ZERO..=10 * MINUTE)?;
    within(
        "serve.max_connections",
        serve.max_connections,
        0..=10_000_000,
    )?;
    within("serve.per_address", serve.per_address, 0..=10_000_000)?;
    within(
        "serve.trusted_proxies",
        serve.trusted_proxies.len(),
        0..=MAX_PROXIES,
    )?;
    if let Some(alias) = &serve.alias {
        alias_path(alias)?;
    }
    within(
        "serve.cors_origins",
        serve.cors_origins.len(),
        0..=MAX_ORIGINS,
    )?;
    serve.cors_origins.iter().try_for_each(|it| origin(it))
}

fn tls(tls: &Tls) -> Result<(), InvalidValue> {
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => return invalid("tls.certificate", "needs tls.key beside it"),
        (None, Some(_)) => return invalid("tls.key", "needs tls.certificate beside it"),
        _ => {}
    }
    let least = Duration::from_millis(100);
    lasts("tls.reload", tls.reload, least..=HOUR)?;
    within("tls.http2_streams", tls.http2_streams, 1..=1_000)?;
    if let Some(age) = tls.hsts {
        if !tls.is_on() {
            // Browsers heed it over TLS alone (RFC 6797, 8.1).
            return invalid("tls.hsts", "needs tls.certificate and tls.key beside it");
        }
        lasts("tls.hsts", age, Duration::ZERO..=730 * DAY)?;
        if age.subsec_nanos() != 0 {
            return invalid("tls.hsts", "must be whole seconds");
        }
    }
    Ok(())
}

fn stream(stream: &Stream) -> Result<(), InvalidValue> {
    let retry = Duration::from_millis(100)..=5 * MINUTE;
    lasts("stream.heartbeat", stream.heartbeat, SECOND..=5 * MINUTE)?;
    lasts("stream.idle_limit", stream.idle_limit, SECOND..=HOUR)?;
    lasts("stream.sweep", stream.sweep, SECOND..=HOUR)?;
    within("stream.per_user", stream.per_user, 1..=1_000)?;
    within("stream.per_address", stream.per_address, 0..=10_000_000)?;
    within("stream.max", stream.max, 0..=10_000_000)?;
    lasts("stream.max_age", stream.max_age, SECOND..=7 * DAY)?;
    within("stream.replay_page", stream.replay_page, 1..=1_000)?;
    within("stream.recent_bytes", stream.recent_bytes, 0..=1 << 30)?;
    within("stream.replay_limit", stream.replay_limit, 1..=100_000)?;
    within("stream.send_buffer", stream.send_buffer, 4_096..=4_194_304)?;
    lasts("stream.retry_min", stream.retry_min, retry.clone())?;
    lasts("stream.retry_max", stream.retry_max, retry)?;
    if stream.retry_min > stream.retry_max {
        return invalid("stream.retry_min", "must not be more than stream.retry_max");
    }
    Ok(())
}

fn delivery(delivery: &Delivery) -> Result<(), InvalidValue> {
    let least = Duration::from_millis(1);
    if delivery.retry.len() > 10 {
        return invalid("delivery.retry", "must be at most 10 durations");
    }
    for wait in &delivery.retry {
        lasts("delivery.retry", *wait, least..=HOUR)?;
    }
    lasts(
        "delivery.start_grace",
        delivery.start_grace,
        Duration::ZERO..=HOUR,
    )?;
    lasts("delivery.pace", delivery.pace, Duration::ZERO..=MINUTE)?;
    lasts(
        "delivery.safety_look",
        delivery.safety_look,
        100 * least..=5 * MINUTE,
    )?;
    within("delivery.max_queue", delivery.max_queue, 1..=1_000_000)?;
    within("delivery.max_batch", delivery.max_batch, 1..=10_000)
}

fn auth(auth: &Auth) -> Result<(), InvalidValue> {
    let cookies = [
        ("auth.cookie", &auth.cookie),
        ("auth.nextauth_cookie", &auth.nextauth_cookie),
    ];
    for (key, cookie) in cookies {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let fits = |it: &String| (1..=MAX_TEXT_BYTES).contains(&it.len()) && it.bytes().all(token);
        if cookie.as_ref().is_some_and(|cookie| !fits(cookie)) {
            return invalid(key, "must be a cookie's name: letters, digits, - and _");
        }
    }
    if !(1..=MAX_TEXT_BYTES).contains(&auth.nextauth_user_claim.len()) {
        return invalid("auth.nextauth_user_claim", "must be 1 to 256 bytes");
    }
    let paths = &auth.nextauth_role_claims;
    within("auth.nextauth_role_claims", paths.len(), 0..=MAX_CLAIMS)?;
    for path in paths {
        let bytes = path.len();
        within("auth.nextauth_role_claims", bytes, 1..=MAX_TEXT_BYTES)?;
    }
    for (role, scopes) in &auth.role_scopes {
        if let Err(error) = audience::identifier(role) {
            return invalid("auth.role_scopes", &format!("a role {error}"));
        }
        if scopes.is_empty() {
            let problem = format!("must give {role:?} \"publish\" or \"admin\", or leave it out");
            return invalid("auth.role_scopes", &problem);
        }
    }
    if let Some(audience) = &auth.audience
        && (audience.is_empty() || audience.len() > MAX_TEXT_BYTES)
    {
        return invalid("auth.audience", "must be 1 to 256 bytes");
    }
    lasts("auth.jwks_refresh", auth.jwks_refresh, SECOND..=DAY)?;
    within("auth.issuers", auth.issuers.len(), 0..=MAX_ISSUERS)?;
    for (n, issuer) in auth.issuers.iter().enumerate() {
        let fits = issuer.fits(auth.audience.is_some());
        let fits = fits.and_then(|()| issuer.is_apart_from(&auth.issuers[..n]));
        if let Err(problem) = fits {
            return invalid("auth.issuers", &format!("number {}: {problem}", n + 1));
        }
    }
    lasts("auth.leeway", auth.leeway, Duration::ZERO..=5 * MINUTE)
}

fn webhooks(webhooks: &Webhooks) -> Result<(), InvalidValue> {
    let least = Duration::from_millis(1);
    within("webhooks.retry", webhooks.retry.len(), 0..=10)?;
    for wait in &webhooks.retry {
        lasts("webhooks.retry", *wait, least..=DAY)?;
    }
    lasts("webhooks.timeout", webhooks.timeout, 100 * least..=MINUTE)?;
    lasts("webhooks.pace", webhooks.pace, Duration::ZERO..=MINUTE)?;
    lasts(
        "webhooks.disable_after",
        webhooks.disable_after,
        SECOND..=365 * DAY,
    )?;
    within(
        "webhooks.admin_roles",
        webhooks.admin_roles.len(),
        0..=MAX_ROLES,
    )?;
    for role in &webhooks.admin_roles {
        if let Err(error) = audience::identifier(role) {
            return invalid("webhooks.admin_roles", &format!("a role {error}"));
        }
    }
    within("webhooks.allow", webhooks.allow.len(), 0..=MAX_ALLOWED)
}

impl Retention {
    /// Checks every value against its bounds.
    ///
    /// # Errors
    /// The first value that is not allowed.
    pub fn validate(&self) -> Result<(), InvalidValue> {
        lasts(
            "retention.notifications",
            self.notifications,
            MINUTE..=3_650 * DAY,
        )?;
        lasts("retention.broadcasts", self.broadcasts, SECOND..=30 * DAY)?;
        // Whoever publishes is promised a day in which to ask again.
        lasts("retention.idempotency", self.idempotency, DAY..=3_650 * DAY)?;
        lasts("retention.audit", self.audit, MINUTE..=3_650 * DAY)?;
        lasts("retention.webhooks", self.webhooks, MINUTE..=3_650 * DAY)
    }
}

/// A path only: this version has one kind of store.
fn database_path(database: &str) -> Result<(), InvalidValue> {
    const KEY: &str = "serve.database";
    if database.starts_with("postgres://") || database.starts_with("postgresql://") {
        return invalid(
            KEY,
            "must be the path of an SQLite file; PostgreSQL is not in this version",
        );
    }
    if database.is_empty() || database.contains("://") || database.contains('\0') {
        return invalid(KEY, "must be the path of an SQLite file, not a URL");
    }
    Ok(())
}

/// One plain path: no braces or stars, which a router would read as patterns, and nothing that ends a path in a URL.
fn alias_path(alias: &str) -> Result<(), InvalidValue> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    let fits = alias.len() <= MAX_TEXT_BYTES
        && alias.len() > 1
        && alias.starts_with('/')
        && !alias.ends_with('/')
        && !alias.contains("//")
        && alias.bytes().all(plain);
    if fits {
        return Ok(());
    }
    invalid(
        "serve.alias",
        "must be a path such as \"/api/notifications/ws\"",
    )
}

/// An origin in the form in which browsers send it (RFC 6454, section 6.2): it is compared byte by byte, so one that
/// no browser sends would only look as if it allowed something.
fn origin(origin: &str) -> Result<(), InvalidValue> {
    const KEY: &str = "serve.cors_origins";
    if origin.contains('*') || origin == "null" {
        return invalid(
            KEY,
            "must name each origin, for \"*\" and \"null\" do not go with credentials",
        );
    }
    let (host, default_port) = match (
        origin.strip_prefix("https://"),
        origin.strip_prefix("http://"),
    ) {
        (Some(host), _) => (host, ":443"),
        (_, Some(host)) => (host, ":80"),
        (None, None) => ("", ""),
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_:[]".contains(&b);
    if host.is_empty() || host.len() > MAX_TEXT_BYTES || !host.bytes().all(plain) {
        let problem = "must be scheme, host and port as browsers send them, such as \"https://app.example.com\"";
        return invalid(KEY, &format!("{problem}, not {origin:?}"));
    }
    if host.ends_with(default_port) {
        let problem = format!("must leave out the default port, as browsers do, not {origin:?}");
        return invalid(KEY, &problem);
    }
    Ok(())
}

fn lasts(
    key: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Result<(), InvalidValue> {
    if range.contains(&value) {
        return Ok(());
    }
    let [least, most, value] = [*range.start(), *range.end(), value].map(duration::format);
    invalid(key, &format!("must be {least} to {most}, not {value}"))
}

fn within<N: PartialOrd + Display>(
    key: &'static str,
    value: N,
    range: RangeInclusive<N>,
) -> Result<(), InvalidValue> {
    if range.contains(&value) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    invalid(key, &format!("must be {least} to {most}, not {value}"))
}

fn invalid(key: &'static str, problem: &str) -> Result<(), InvalidValue> {
    Err(InvalidValue {
        key,
        problem: problem.to_owned(),
    })
}
