//! What can be configured: typed sections, their defaults, and the one way to load them.
//!
//! [`DEFAULTS`], the commented `campanile.toml`, is the documentation and is printed by `campanile config`; a test
//! holds it and [`Config::default`] together. `layers` lays the file, the environment and the flags over the defaults
//! and is the only place in the crate that reads the environment; `bounds` says what each value may be. A wrong key
//! or value is an error of one line that names the key, where it stands and what would be allowed.

mod bounds;
pub mod duration;
mod issuer;
mod layers;
mod secret_text;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::bounds::InvalidValue;
pub use self::issuer::{Issuer, SigningAlgorithm};
pub use self::layers::{ConfigError, Environment, Setting};
pub use self::secret_text::SecretText;
use crate::auth::Scope;
use crate::webhooks::Cidr;

/// Every key with its default and what it means, as a TOML document.
pub const DEFAULTS: &str = include_str!("campanile.toml");

/// The file that is read if no other is named and it exists in the working directory.
pub const DEFAULT_FILE: &str = "campanile.toml";

/// Everything that can be configured. [`Default`] is what [`DEFAULTS`] says.
///
/// An embedding application may build one in code; [`Config::validate`] then applies the bounds that loading applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listening, storing and stopping.
    pub serve: Serve,
    /// TLS.
    pub tls: Tls,
    /// The event streams.
    pub stream: Stream,
    /// The queue.
    pub delivery: Delivery,
    /// References.
    pub reference: Reference,
    /// Who may do what.
    pub auth: Auth,
    /// How long things are kept.
    pub retention: Retention,
    /// Test notifications.
    pub test_rate: TestRate,
    /// What each publisher may publish.
    pub publish_rate: PublishRate,
    /// Webhooks.
    pub webhooks: Webhooks,
}

/// Listening, storing and stopping: `[serve]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// Where to listen; port 0 lets the system choose.
    #[serde(with = "address")]
    pub listen: SocketAddr,
    /// A second address that serves `/metrics` and `/healthz` alone, without credentials; none by default.
    #[serde(with = "address::optional", skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// The directory for the store, the signing secret and the lock.
    pub data: PathBuf,
    /// The path of the SQLite file, if not the one that [`Serve::database_path`] derives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// How long a client may take to send a request's headers; 1 s to 5 min.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body; 1 s to 10 min.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// The deadline of a graceful stop; 0 to 10 min.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// The most connections at once, streams among them; 0 derives it from the limit on file descriptors.
    pub max_connections: usize,
    /// The most connections of one address at once, streams not among them; 0 is a quarter of all.
    pub per_address: usize,
    /// The proxies in front: who they say is behind them is taken for the client, and they themselves are not counted.
    pub trusted_proxies: Vec<Cidr>,
    /// A path for older clients: the one-endpoint form, and the stream without event names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The origins whose pages may call across sites with credentials, as browsers send them.
    pub cors_origins: Vec<String>,
}

impl Serve {
    /// The SQLite file: `database`, or `campanile.db` under `data`.
    pub fn database_path(&self) -> PathBuf {
        match &self.database {
            Some(path) => PathBuf::from(path),
            None => self.data.join("campanile.db"),
        }
    }

    /// The signing secret: `secret` under `data`.
    pub fn secret_path(&self) -> PathBuf {
        self.data.join("secret")
    }

    /// The secret with which a cron job has overdue reminders looked for: `cron-secret` under `data`.
    pub fn cron_secret_path(&self) -> PathBuf {
        self.data.join("cron-secret")
    }

    /// The file that a running hub holds locked: `lock` under `data`.
    pub fn lock_path(&self) -> PathBuf {
        self.data.join("lock")
    }

    /// The file into which a running hub that speaks TLS writes which certificates its own commands are to trust: `trusted`
    /// under `data`.
    pub fn trusted_path(&self) -> PathBuf {
        self.data.join("trusted")
    }

    /// The file into which a running hub writes its base URL: `address` under `data`.
    pub fn address_path(&self) -> PathBuf {
        self.data.join("address")
    }
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8400)),
            metrics_listen: None,
            data: PathBuf::from("campanile-data"),
            database: None,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            max_connections: 0,
            per_address: 0,
            trusted_proxies: Cidr::LOOPBACK.to_vec(),
            alias: None,
            cors_origins: Vec::new(),
        }
    }
}

/// TLS: `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The PEM file with the certificate and those that lead to its issuer. With it the address speaks TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The PEM file with its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// How often both are looked at for a new pair; 100 ms to 1 h.
    #[serde(with = "duration")]
    pub reload: Duration,
    /// The most streams of HTTP/2 that one connection may have at once, requests among them; 1 to 1,000.
    pub http2_streams: u32,
    /// For how long browsers are told to come to this host over TLS alone (RFC 6797); 0 to 730 d in whole seconds. Zero makes
    /// them forget it; none says nothing of it.
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Duration>,
}

impl Tls {
    /// Whether the address speaks TLS.
    pub fn is_on(&self) -> bool {
        self.certificate.is_some() && self.key.is_some()
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            reload: Duration::from_secs(10),
            http2_streams: 100,
            hsts: None,
        }
    }
}

/// The event streams: `[stream]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// How often a stream without other traffic shows that it is alive; 1 s to 5 min.
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    /// How long a connection may take no byte while some are waiting; 1 s to 1 h.
    #[serde(with = "duration")]
    pub idle_limit: Duration,
    /// How often all streams are looked over for those; 1 s to 1 h.
    #[serde(with = "duration")]
    pub sweep: Duration,
    /// The most streams of one user; 1 to 1,000.
    pub per_user: usize,
    /// The most streams of one address, an IPv6 /64 counting as one; 0 is a quarter of all.
    pub per_address: usize,
    /// The most streams in all; 0 derives it from the connections.
    pub max: usize,
    /// After this long a stream must come back with fresh credentials; 1 s to 7 d.
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// Entries of the log read at a time while a stream catches up; 1 to 1,000.
    pub replay_page: usize,
    /// Bytes of the latest entries that stay in memory for streams that come back; 0 to 1 GiB.
    pub recent_bytes: usize,
    /// Events behind which a stream is told of a gap instead; 1 to 100,000.
    pub replay_limit: usize,
    /// The kernel's send buffer of a connection, in bytes; 4 KiB to 4 MiB.
    pub send_buffer: usize,
    /// The least `retry:` that a stream may draw; 100 ms to 5 min.
    #[serde(with = "duration")]
    pub retry_min: Duration,
    /// The greatest; not less than `retry_min`.
    #[serde(with = "duration")]
    pub retry_max: Duration,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            idle_limit: Duration::from_secs(60),
            sweep: Duration::from_secs(30),
            per_user: 20,
            per_address: 0,
            max: 0,
            max_age: Duration::from_hours(1),
            replay_page: 256,
            recent_bytes: 8 * 1024 * 1024,
            replay_limit: 1_000,
            send_buffer: 65_536,
            retry_min: Duration::from_secs(2),
            retry_max: Duration::from_secs(5),
        }
    }
}

/// The queue: `[delivery]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// When a recipient is asked after again, each counted from the try before; 0 to 10 of 1 ms to 1 h.
    #[serde(with = "duration::list")]
    pub retry: Vec<Duration>,
    /// No try counts for this long after a start; 0 to 1 h.
    #[serde(with = "duration")]
    pub start_grace: Duration,
    /// The pause between two notifications; 0 to 1 min.
    #[serde(with = "duration")]
    pub pace: Duration,
    /// How often the queue looks at the store uncalled; 100 ms to 5 min.
    #[serde(with = "duration")]
    pub safety_look: Duration,
    /// Entries committed but not handed out, beyond which publishers are refused for now; 1 to 1,000,000.
    pub max_queue: usize,
    /// Drafts in one commit; 1 to 10,000.
    pub max_batch: usize,
}

impl Delivery {
    /// How often a recipient is asked after at most: without a schedule there is one look all the same.
    pub fn max_attempts(&self) -> usize {
        self.retry.len().max(1)
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            retry: [1, 5, 25].map(Duration::from_secs).to_vec(),
            start_grace: Duration::from_secs(60),
            pace: Duration::ZERO,
            safety_look: Duration::from_secs(5),
            max_queue: 10_000,
            max_batch: 1_024,
        }
    }
}

/// References: `[reference]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reference {
    /// The time zone in which the month of a reference begins; a name of the IANA database.
    pub zone: String,
}

impl Default for Reference {
    fn default() -> Self {
        Self {
            zone: "UTC".to_owned(),
        }
    }
}

/// Who may do what: `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The cookie that may carry a token; a token of RFC 6265.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Whether a token may stand in the stream's URL.
    pub query_token: bool,
    /// What the roles in a token allow beyond reading one's own.
    pub role_scopes: BTreeMap<String, Vec<Scope>>,
    /// How far the clocks of those who sign may differ from this one; 0 to 5 min.
    #[serde(with = "duration")]
    pub leeway: Duration,
    /// What every token must name in `aud`, if set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// How often the keys of other issuers are fetched anew; 1 s to 24 h.
    #[serde(with = "duration")]
    pub jwks_refresh: Duration,
    /// The secret of a site with NextAuth.js or Auth.js, whose sessions are taken as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nextauth_secret: Option<SecretText>,
    /// A file with it, and with earlier ones, one a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nextauth_secret_file: Option<PathBuf>,
    /// What the site calls its session's cookie, if not as its library does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nextauth_cookie: Option<String>,
    /// The path of the claim with the user in a session.
    pub nextauth_user_claim: String,
    /// The paths of the claims with roles.
    pub nextauth_role_claims: Vec<String>,
    /// Others who sign tokens for this hub.
    pub issuers: Vec<Issuer>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            cookie: None,
            query_token: false,
            role_scopes: BTreeMap::new(),
            leeway: Duration::from_secs(5),
            audience: None,
            jwks_refresh: Duration::from_mins(10),
            nextauth_secret: None,
            nextauth_secret_file: None,
            nextauth_cookie: None,
            nextauth_user_claim: "sub".to_owned(),
            nextauth_role_claims: ["role", "roles", "user.role", "user.roles"]
                .map(str::to_owned)
                .to_vec(),
            issuers: Vec::new(),
        }
    }
}

/// How long things are kept: `[retention]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Notifications and with them the inboxes; 1 min to 3,650 d.
    #[serde(with = "duration")]
    pub notifications: Duration,
    /// Broadcasts, for streams that resume; 1 s to 30 d.
    #[serde(with = "duration")]
    pub broadcasts: Duration,
    /// Idempotency keys, whatever became of their notifications; 24 h to 3,650 d.
    #[serde(with = "duration")]
    pub idempotency: Duration,
    /// The audit's record of keys that were used again; 1 min to 3,650 d.
    #[serde(with = "duration")]
    pub audit: Duration,
    /// Webhooks that have come to an end, at least as long as what they tell of; 1 min to 3,650 d.
    #[serde(with = "duration")]
    pub webhooks: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            notifications: Duration::from_hours(30 * 24),
            broadcasts: Duration::from_hours(1),
            idempotency: Duration::from_hours(24),
            audit: Duration::from_hours(30 * 24),
            webhooks: Duration::from_hours(30 * 24),
        }
    }
}

/// Test notifications: `[test_rate]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestRate {
    /// How many a user may send to themselves in a minute; 1 to 10,000.
    pub per_minute: u32,
}

impl Default for TestRate {
    fn default() -> Self {
        Self { per_minute: 30 }
    }
}

/// What each publisher may publish: `[publish_rate]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishRate {
    /// How many drafts in a second; 0 to 1,000,000, and 0 is as many as they like.
    pub per_second: u32,
    /// How many at once, as long as they have not used that up; 1 to 1,000,000.
    pub burst: u32,
}

impl Default for PublishRate {
    fn default() -> Self {
        Self {
            per_second: 0,
            burst: 1_000,
        }
    }
}

/// Webhooks: `[webhooks]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// When one that did not come through is tried again, each counted from the try before; 0 to 10 of 1 ms to 24 h.
    #[serde(with = "duration::list")]
    pub retry: Vec<Duration>,
    /// How long an endpoint may take to answer; 100 ms to 1 min.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// The least pause between two sends to one endpoint; 0 to 1 min.
    #[serde(with = "duration")]
    pub pace: Duration,
    /// An endpoint through which nothing has come for so long is disabled; 1 s to 365 d.
    #[serde(with = "duration")]
    pub disable_after: Duration,
    /// The roles that are told of it.
    pub admin_roles: Vec<String>,
    /// Whether public addresses are sent to without TLS.
    pub allow_http: bool,
    /// Addresses that are sent to although they are not public, and without TLS.
    pub allow: Vec<Cidr>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            retry: [10, 300, 3_600].map(Duration::from_secs).to_vec(),
            timeout: Duration::from_secs(15),
            pace: Duration::from_millis(200),
            disable_after: Duration::from_hours(5 * 24),
            admin_roles: Vec::new(),
            allow_http: false,
            allow: Vec::new(),
        }
    }
}

/// An address with a refusal that shows one: the standard library's says only that the syntax is wrong.
mod address {
    use super::*;

    pub(crate) fn serialize<S: serde::Serializer>(
        value: &SocketAddr,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
        input: D,
    ) -> Result<SocketAddr, D::Error> {
        String::deserialize(input)?.parse().map_err(|_| {
            serde::de::Error::custom(
                "must be an IP address and a port, such as \"127.0.0.1:8400\" or \"[::1]:8400\"",
            )
        })
    }

    /// The same where there may be none.
    pub(crate) mod optional {
        use super::*;

        pub(crate) fn serialize<S: serde::Serializer>(
            value: &Option<SocketAddr>,
            out: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(address) => super::serialize(address, out),
                None => out.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
            input: D,
        ) -> Result<Option<SocketAddr>, D::Error> {
            super::deserialize(input).map(Some)
        }
    }
}
