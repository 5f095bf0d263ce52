//! Which addresses webhooks may be sent to: public ones, and those that the configuration allows.
//!
//! A webhook's URL is somebody's wish, and the hub stands inside a network. So the rule is held against the addresses that
//! are dialled and not against the name: a name is looked up once, each of its addresses is checked, and a connection is
//! made to one of those and to nothing else. That a name gives another answer the next time changes nothing. The list of
//! what is not public is that of IANA's special-purpose registries (RFC 6890) with what clouds use for metadata.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve as ResolveName, Resolving};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A block of addresses: `10.0.0.0/8`, `fd00::/8`, `127.0.0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

/// A text that is no block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a block of addresses such as \"127.0.0.0/8\" or \"fd00::/8\"")]
pub struct InvalidCidr;

impl Cidr {
    /// This machine itself.
    pub(crate) const LOOPBACK: [Self; 2] = [
        Self {
            network: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
            bits: 8,
        },
        Self {
            network: IpAddr::V6(Ipv6Addr::LOCALHOST),
            bits: 128,
        },
    ];

    /// Whether the address lies in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits));
                (network.to_bits() ^ address.to_bits()) & mask.unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits));
                (network.to_bits() ^ address.to_bits()) & mask.unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let (network, bits) = match text.split_once('/') {
            Some((network, bits)) => (network, Some(bits)),
            None => (text, None),
        };
        let network: IpAddr = network.parse().map_err(|_| InvalidCidr)?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().map_err(|_| InvalidCidr)?,
        };
        if bits > most {
            return Err(InvalidCidr);
        }
        Ok(Self { network, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Looks names up.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a host.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// As the system does it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}

/// Why a URL cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// It is not a URL that webhooks go to.
    #[error("{0}")]
    Url(&'static str),
    /// One of its addresses is not to be dialled.
    #[error("the address {0} is {1}, and webhooks go to public addresses only")]
    Address(IpAddr, &'static str),
    /// Without TLS an address must be allowed by name.
    #[error("http is not allowed to {0}, only https")]
    Plain(IpAddr),
    /// The name has no address.
    #[error("the name {0} cannot be resolved: {1}")]
    Name(String, String),
}

/// Where webhooks may go.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Addresses that are allowed although they are not public, and without TLS.
    pub allow: Arc<[Cidr]>,
    /// Whether public addresses are sent to without TLS.
    pub allow_http: bool,
}

impl Reach {
    /// Reads a URL and checks what can be checked without a look-up. Every spelling of an address (octal, hexadecimal, one
    /// number) is read as one, as browsers do (WHATWG URL 3.5).
    ///
    /// # Errors
    /// [`Unreachable`].
    pub fn url(&self, text: &str) -> Result<Url, Unreachable> {
        let url = Url::parse(text).map_err(|_| Unreachable::Url("must be a URL"))?;
        match url.scheme() {
            "https" => {}
            // Each address is then held against the list when it is dialled.
            "http" if self.allow_http || !self.allow.is_empty() => {}
            _ => return Err(Unreachable::Url("must begin with https://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Unreachable::Url("must not hold a user or a password"));
        }
        if url.fragment().is_some() {
            return Err(Unreachable::Url("must not hold a fragment"));
        }
        if let Some(address) = literal(&url) {
            self.check(address, url.scheme() == "https")?;
        }
        Ok(url)
    }

    /// Whether this address may be dialled.
    ///
    /// # Errors
    /// [`Unreachable`].
    pub fn check(&self, address: IpAddr, tls: bool) -> Result<(), Unreachable> {
        if self.allow.iter().any(|block| block.contains(address)) {
            return Ok(());
        }
        if let Some(what) = not_public(address) {
            return Err(Unreachable::Address(address, what));
        }
        if !tls && !self.allow_http {
            return Err(Unreachable::Plain(address));
        }
        Ok(())
    }
}

/// The address that a URL names by itself. Such a host is dialled without a look-up.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let host = host.strip_prefix('[').unwrap_or(host);
    host.strip_suffix(']').unwrap_or(host).parse().ok()
}

/// Looks up what the HTTP client wants to dial, and gives it only what was checked.
pub(super) struct Guarded {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) reach: Reach,
    pub(super) tls: bool,
}

impl ResolveName for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, reach, tls) = (name.as_str().to_owned(), self.reach.clone(), self.tls);
        let found = self.resolver.resolve(&host);
        async move {
            let found = found
                .await
                .map_err(|error| Unreachable::Name(host.clone(), error.to_string()))?;
            if found.is_empty() {
                return Err(Unreachable::Name(host, "it has no address".to_owned()).into());
            }
            // One bad address spoils the name: whoever mixes them means to be dialled on the bad one.
            found
                .iter()
                .try_for_each(|address| reach.check(*address, tls))?;
            let dialled = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(dialled) as Addrs)
        }
        .boxed()
    }
}

/// What an address is that is not public; none if it is.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => not_public_v4(address),
        IpAddr::V6(address) => not_public_v6(address),
    }
}

/// First match; each block with what it is for.
const V4: [(Ipv4Addr, u32, &str); 19] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "unspecified"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (
        Ipv4Addr::new(100, 64, 0, 0),
        10,
        "shared by a carrier's customers",
    ),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's metadata"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "reserved for protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "reserved for protocols"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "reserved for protocols"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "reserved for protocols"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    let within =
        |network: Ipv4Addr, bits: u32| (network.to_bits() ^ address.to_bits()) >> (32 - bits) == 0;
    let found = V4.iter().find(|(network, bits, _)| within(*network, *bits));
    found.map(|(_, _, what)| *what)
}

/// Only 2000::/3 is given out to anybody; within it, what carries other addresses or is for something else.
fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0, 0, 0, 0, 0, 0xffff, ..] => Some("an IPv4 address in an IPv6 one"),
        [0x64, 0xff9b, ..] => Some("an IPv4 address behind NAT64"),
        [0x2001, second, ..] if second < 0x200 => Some("reserved for protocols, Teredo among them"),
        [0x2001, 0xdb8, ..] => Some("for documentation"),
        [0x2002, ..] => Some("an IPv4 address in 6to4"),
        [0x3fff, second, ..] if second < 0x1000 => Some("for documentation"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Some("private"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("link-local"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("multicast"),
        [first, ..] if first & 0xe000 == 0x2000 => None,
        _ => Some("reserved"),
    }
}
