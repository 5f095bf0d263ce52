//! A whole hub from a configuration: opened in order, served, and stopped in order.
//!
//! Opening goes from what cannot be shared to what is seen from outside: the data directory and its lock, the store, the
//! secret, the hub, and the listening socket last, so that nobody is answered by a hub that is not there yet. Stopping
//! goes the other way round and has a deadline: no new connections; requests in flight are finished while the streams
//! are told to come back elsewhere; what is left then is cut; the hub writes what it knows, and closes.
//!
//! The accept loop is the hub's own, because it needs what a general server does not offer: a timeout for silent
//! clients, a bound on connections that says so to whoever is over it, and sockets that can be handed to the hub.

mod accept;
mod certificate;
mod connection;
mod descriptors;
mod http2;
mod line;
mod renewal;
mod scrape;
mod tls;
mod wire;

use std::convert::Infallible;
use std::fs::{File, TryLockError};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::Router;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinError;

use self::accept::{Acceptor, Bounds};
pub use self::certificate::{CertificateError, Fingerprint};
use self::descriptors::Descriptors;
use self::renewal::Renewal;
use self::scrape::Scrape;
use self::tls::Tls;
use crate::auth::{Authenticator, IssuerError, Secret, SecretError, SessionError};
use crate::clock::Timestamp;
use crate::config::{Config, InvalidValue};
use crate::events;
use crate::http::{Codes, standalone};
use crate::hub::Hub;
use crate::private::tell_if_exposed;
use crate::reference::Zone;
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{OpenStoreError, StoreError};

/// Connections that the kernel holds for us between two looks; it cuts this to its own bound (`somaxconn`).
const BACKLOG: u32 = 4_096;

/// Why a hub cannot be opened. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A value of the configuration is not allowed.
    #[error(transparent)]
    Config(#[from] InvalidValue),
    /// The data directory cannot be made or written.
    #[error("cannot use the data directory {path}: {source}")]
    Data {
        /// The directory, or a file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another hub runs on the data directory.
    #[error("the data directory {path} is in use by another campanile")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The secret cannot be read or made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The keys of another issuer cannot be read.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The secrets of a site's sessions cannot be read.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The certificate or its key cannot be served with.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The store was opened and then did not answer.
    #[error("the hub cannot start: {0}")]
    Start(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread of this process ended unexpectedly.
    #[error("opening was cut short: {0}")]
    Interrupted(#[from] JoinError),
}

impl OpenError {
    /// Whether it is about what is kept on disk.
    pub fn is_store(&self) -> bool {
        matches!(
            self,
            Self::Data { .. }
                | Self::InUse { .. }
                | Self::Store(_)
                | Self::Secret(_)
                | Self::Start(_)
        )
    }

    /// Whether it is about the configuration.
    pub fn is_config(&self) -> bool {
        matches!(
            self,
            Self::Config(_) | Self::Issuer(_) | Self::Session(_) | Self::Certificate(_)
        )
    }
}

/// Why a hub stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It cannot go on: its store is damaged, say, and it does not go on building on it.
    #[error("the hub cannot go on: {0}")]
    Damaged(String),
    /// The certificate or its key cannot be served with. It has accepted nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A hub that listens, and accepts connections once it is [run](Server::run).
pub struct Server {
    config: Config,
    hub: Hub,
    codes: Codes,
    tls: Option<(Tls, Renewal)>,
    listening: Listening,
    _lock: File,
}

/// Its sockets.
struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    /// The second one, for scraping.
    scrape: Option<(TcpListener, SocketAddr)>,
    announced: Announcement,
}

impl Server {
    /// Opens everything that the configuration names; see the module for the order.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_with(config, false).await
    }

    /// The same; `new_epoch` tells every client that what it has seen may not be what is stored, as it must be when the
    /// file was put back from a copy.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open_with(mut config: Config, new_epoch: bool) -> Result<Self, OpenError> {
        config.validate()?;
        Descriptors::raise().divide(&mut config);
        let kept = config.clone();
        let Files {
            lock,
            opened,
            secret,
            cron_secret,
            tls,
        } = tokio::task::spawn_blocking(move || open_files(&kept, new_epoch)).await??;
        let authenticator = Authenticator::new(secret, &config.auth)
            .with_issuers(&config.auth)?
            .with_sessions(&config.auth)?
            .with_cron_secret(&cron_secret);
        let hub = Hub::start(opened, &config, authenticator).await?;
        match Listening::open(&config) {
            Ok(listening) => Ok(Self {
                config,
                hub,
                codes: Codes::new(),
                tls,
                listening,
                _lock: lock,
            }),
            Err(error) => {
                hub.close().await;
                Err(error)
            }
        }
    }

    /// Where it listens; the port is the real one if the configuration said 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.listening.address
    }

    /// Its URL, with the address as it was configured and the real port.
    pub fn url(&self) -> String {
        format!("{}://{}", scheme(&self.config), self.local_addr())
    }

    /// Where it serves `/metrics` without credentials, if it does.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.listening.scrape.as_ref().map(|(_, address)| *address)
    }

    /// The hub, to publish and subscribe within the process.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// A link that signs in to the console: once, within [`crate::http::CODE_LIFETIME`]. Without a code, if the system
    /// has no randomness to make one of.
    pub fn console_link(&self) -> String {
        let base = base_url(&self.config, self.local_addr());
        match self.codes.issue(Timestamp::now()) {
            Some((code, _)) => format!("{base}/sign-in?code={code}"),
            None => base,
        }
    }

    /// Serves until `shutdown` resolves, then stops in order within `serve.drain`.
    ///
    /// # Errors
    /// [`RunError`], after stopping in order as well.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Listening {
            listener,
            scrape,
            announced,
            ..
        } = self.listening;
        let (hub, config) = (self.hub, &self.config);
        let router = standalone(hub.clone(), config, self.codes);
        let served = accept_until((listener, self.tls), router, hub.clone(), config, shutdown);
        let outcome = match scrape {
            Some((listener, _)) => Scrape::new(listener, hub, config).during(served).await,
            None => served.await,
        };
        announced.withdraw();
        outcome
    }
}

/// Serves a hub on a listener until `shutdown` resolves, then stops both: requests in flight are finished, streams are told to
/// come back, and what is left after `serve.drain` is cut. The hub is closed when this returns. With `tls.certificate` it speaks
/// TLS. It listens nowhere else: `serve.metrics_listen` is for a [`Server`].
///
/// # Errors
/// [`RunError`], after stopping in order as well.
pub async fn serve(
    listener: TcpListener,
    hub: Hub,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut config = config.clone();
    Descriptors::raise().divide(&mut config);
    let tls = match Tls::open(&config, None) {
        Ok(tls) => tls,
        Err(error) => {
            hub.close().await;
            return Err(error.into());
        }
    };
    let router = standalone(hub.clone(), &config, Codes::new());
    accept_until((listener, tls), router, hub, &config, shutdown).await
}

async fn accept_until(
    (listener, tls): (TcpListener, Option<(Tls, Renewal)>),
    router: Router,
    hub: Hub,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let (tls, renewal) = tls.unzip();
    let acceptor = Acceptor::new(router, hub.clone(), config, Bounds::of(config)).speaking(tls);
    let outcome = tokio::select! {
        biased;
        damage = hub.damaged() => Err(RunError::Damaged(damage)),
        () = shutdown => Ok(()),
        never = acceptor.run(&listener) => match never {},
        never = watch(renewal) => match never {},
    };
    // From here on new clients are refused by the kernel and go elsewhere, or come back to the next start.
    drop(listener);
    let orderly = async { tokio::join!(acceptor.drain(), hub.drain()) };
    if tokio::time::timeout(config.serve.drain, orderly)
        .await
        .is_err()
    {
        tracing::warn!(
            event = events::DRAIN_CUT_SHORT,
            "the deadline of the stop has come; what is left is cut"
        );
    }
    acceptor.cut().await;
    hub.close().await;
    outcome
}

async fn watch(renewal: Option<Renewal>) -> Infallible {
    match renewal {
        Some(renewal) => renewal.watch().await,
        None => std::future::pending().await,
    }
}

/// What is on the disk.
struct Files {
    lock: File,
    opened: crate::store::Opened,
    secret: Secret,
    cron_secret: Secret,
    tls: Option<(Tls, Renewal)>,
}

/// Everything that blocks on the disk.
fn open_files(config: &Config, new_epoch: bool) -> Result<Files, OpenError> {
    let data = &config.serve.data;
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Data { path, source }
    };
    make_private(data).map_err(unusable(data))?;
    let lock_path = config.serve.lock_path();
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(unusable(&lock_path))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse { path: data.clone() },
        TryLockError::Error(source) => unusable(&lock_path)(source),
    })?;
    // Before the store: whoever named the wrong file has nothing made or upgraded yet.
    let tls = Tls::open(config, Some(config.serve.trusted_path()))?;
    let opened = SqliteStore::open(
        &config.serve.database_path(),
        store_options(config, new_epoch),
    )?;
    let store_path = config.serve.database_path();
    let store = std::fs::metadata(&store_path).map_err(unusable(&store_path))?;
    tell_if_exposed(&store_path, &store);
    let secret = Secret::load_or_create(&config.serve.secret_path())?;
    let cron_secret = Secret::load_or_create(&config.serve.cron_secret_path())?;
    Ok(Files {
        lock,
        opened,
        secret,
        cron_secret,
        tls,
    })
}

/// A directory that only its owner can look into: it will hold the secret and what people are told.
fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn store_options(config: &Config, new_epoch: bool) -> SqliteOptions {
    let defaults = SqliteOptions::default();
    SqliteOptions {
        max_batch: config.delivery.max_batch,
        first_ask: config
            .delivery
            .retry
            .first()
            .copied()
            .unwrap_or(defaults.first_ask),
        new_epoch,
        zone: Zone::named(&config.reference.zone).unwrap_or_default(),
        ..defaults
    }
}

impl Listening {
    fn open(config: &Config) -> Result<Self, OpenError> {
        let serve = &config.serve;
        let (listener, address) = listen(serve.listen)?;
        let scrape = serve.metrics_listen.map(listen).transpose()?;
        let announced = Announcement::write(serve.address_path(), &base_url(config, address));
        Ok(Self {
            listener,
            address,
            scrape,
            announced: announced.map_err(|source| OpenError::Listen { address, source })?,
        })
    }
}

/// Listens, and says where: the port is the real one.
fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), OpenError> {
    let listening = bind(address).and_then(|listener| {
        let real = listener.local_addr()?;
        Ok((listener, real))
    });
    listening.map_err(|source| OpenError::Listen { address, source })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for the last run's connections to time out.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How this machine reaches it: "every address" is not one that can be called.
fn base_url(config: &Config, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    format!("{}://{address}", scheme(config))
}

fn scheme(config: &Config) -> &'static str {
    if config.tls.is_on() { "https" } else { "http" }
}

/// The file that tells other commands where the hub of this data directory can be reached.
struct Announcement(PathBuf);

impl Announcement {
    fn write(path: PathBuf, base_url: &str) -> io::Result<Self> {
        std::fs::write(&path, format!("{base_url}\n"))?;
        Ok(Self(path))
    }

    /// After a crash the file stays; the lock then tells that nobody is there.
    fn withdraw(self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, "the file with the hub's address could not be removed");
        }
    }
}
