//! A hub that speaks TLS, with a certificate made for it, and connections to it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use campanile::config::Config;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{TestHub, soon};

/// A certificate for 127.0.0.1 and its key, in two files.
pub struct Pem {
    directory: TempDir,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Pem {
    pub fn new() -> Self {
        Self::of("127.0.0.1")
    }

    /// The same for another address.
    pub fn of(address: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let pem = Self {
            certificate: directory.path().join("fullchain.pem"),
            key: directory.path().join("privkey.pem"),
            directory,
        };
        pem.keep(make(address));
        pem
    }

    /// Another certificate in the same files.
    pub fn renew(&self) {
        self.keep(make("127.0.0.1"));
    }

    /// The same with one that expires.
    pub fn renew_until(&self, end: time::OffsetDateTime) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut wanted = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        wanted.not_after = end;
        let made = wanted.self_signed(&key).expect("a certificate");
        self.keep((made.pem(), key.serialize_pem()));
    }

    fn keep(&self, (certificate, key): (String, String)) {
        std::fs::write(&self.certificate, certificate).expect("a file");
        std::fs::write(&self.key, key).expect("a file");
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the certificate's file holds now.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.certificate).expect("a certificate")
    }

    pub fn config(&self, config: &mut Config) {
        config.tls.certificate = Some(self.certificate.clone());
        config.tls.key = Some(self.key.clone());
    }

    /// A hub that serves it.
    pub async fn hub(&self, change: impl FnOnce(&mut Config)) -> TestHub {
        TestHub::with(|config| {
            self.config(config);
            change(config);
        })
        .await
    }

    /// A connection by a client that trusts it and speaks this protocol.
    pub async fn connect(
        &self,
        addr: SocketAddr,
        protocol: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        self.connect_on(TcpStream::connect(addr).await?, protocol)
            .await
    }

    /// The same on a socket that is connected already.
    pub async fn connect_on(
        &self,
        socket: TcpStream,
        protocol: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).expect("a root");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::from(socket.peer_addr()?.ip());
        soon("a handshake", connector.connect(name, socket)).await
    }
}

/// A connection of a machine that can be sent to sleep: then it reads nothing more.
pub struct Sleepy<T> {
    io: T,
    asleep: Sleep,
}

/// What sends it to sleep.
#[derive(Clone, Default)]
pub struct Sleep(Arc<AtomicBool>);

impl Sleep {
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<T> Sleepy<T> {
    pub fn new(io: T) -> (Self, Sleep) {
        let asleep = Sleep::default();
        let sleep = asleep.clone();
        (Self { io, asleep }, sleep)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Sleepy<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.asleep.0.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Sleepy<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// A certificate for a name that it has signed itself, and its key, in PEM.
pub fn make(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}
