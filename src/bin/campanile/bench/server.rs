//! What is measured: where it listens, what it is asked, with what credentials, and which processes it is.

use std::fmt::Display;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::Context;
use campanile::auth::{Authenticator, Mint, Scope};
use campanile::clock::Timestamp;
use reqwest::Url;

use super::streams::Welcome;
use super::template::{Fill, Request, Template};
use crate::client::CallError;
use crate::exit::Usage;

/// How long tokens live: longer than any run.
const TOKEN_TTL: Duration = Duration::from_hours(24);

/// How long a server may take to take a connection.
const REACH_PATIENCE: Duration = Duration::from_secs(10);

/// A server, as a run needs it.
pub(super) struct Server {
    pub(super) streams_at: SocketAddr,
    pub(super) publish_at: SocketAddr,
    pub(super) welcome: Welcome,
    pub(super) stream: Request,
    pub(super) publication: Publication,
    /// What is for everyone, of a hub.
    pub(super) missed: Option<Publication>,
    pub(super) tokens: Tokens,
    pub(super) pad: String,
    /// Whose CPU time and memory are told; nobody's if there are none.
    pub(super) processes: Vec<u32>,
}

/// One kind of message.
pub(super) struct Publication {
    /// The request with one of it ...
    pub(super) single: Request,
    /// ... and the one with a JSON array of several.
    pub(super) batch: Request,
    pub(super) body: Template,
}

/// The credentials of each stream.
pub(super) enum Tokens {
    /// None, or what stands in the headers that were given.
    None,
    /// The same for all.
    Shared(String),
    /// Each stream is a user.
    Each(Vec<String>),
}

impl Tokens {
    fn of(&self, stream: usize) -> &str {
        match self {
            Self::None => "",
            Self::Shared(token) => token,
            Self::Each(tokens) => tokens.get(stream).map_or("", String::as_str),
        }
    }
}

impl Server {
    /// # Errors
    /// If nobody listens.
    pub(super) fn reach(&self) -> Result<(), CallError> {
        for address in [self.streams_at, self.publish_at] {
            TcpStream::connect_timeout(&address, REACH_PATIENCE).map_err(|error| {
                CallError::Unreachable {
                    url: format!("http://{address}"),
                    reason: error.to_string(),
                }
            })?;
        }
        Ok(())
    }

    pub(super) fn stream_request(&self, number: usize, place: Option<&str>) -> Vec<u8> {
        let mut request = Vec::new();
        let fill = Fill {
            i: number,
            token: self.tokens.of(number),
            ..Fill::default()
        };
        self.stream.render(&mut request, &fill, place);
        request
    }

    /// What is the same in all that is published.
    pub(super) fn fill(&self) -> Fill<'_> {
        Fill {
            pad: &self.pad,
            ..Fill::default()
        }
    }
}

/// The users of one run. They are nobody who has been there before: a hub would serve those from where they were.
pub(super) struct Users {
    run: String,
}

impl Users {
    pub(super) fn new() -> Self {
        let mut run = uuid::Uuid::new_v4().simple().to_string();
        run.truncate(8);
        Self { run }
    }

    /// The user that a stream is; its number may be a hole for it.
    pub(super) fn name(&self, number: impl Display) -> String {
        format!("bench-{}-{number}", self.run)
    }

    /// A token for each of so many; stream `i` has role `i` modulo `roles`.
    pub(super) fn tokens(
        &self,
        authenticator: &Authenticator,
        streams: usize,
        roles: usize,
    ) -> Tokens {
        let mint = |number: usize| {
            let mint = Mint {
                user: self.name(number),
                roles: vec![role(number % roles)],
                scopes: std::iter::empty().collect(),
                ttl: TOKEN_TTL,
            };
            authenticator.mint(mint, Timestamp::now())
        };
        Tokens::Each((0..streams).map(mint).collect())
    }
}

pub(super) fn role(number: impl Display) -> String {
    format!("bench-{number}")
}

/// A token that may publish.
pub(super) fn publisher_token(authenticator: &Authenticator) -> String {
    let mint = Mint {
        user: "bench".to_owned(),
        roles: Vec::new(),
        scopes: [Scope::Publish].into_iter().collect(),
        ttl: TOKEN_TTL,
    };
    authenticator.mint(mint, Timestamp::now())
}

/// What a hub at this URL is asked.
pub(super) struct HubRequests {
    host: String,
    prefix: String,
    publisher: String,
}

impl HubRequests {
    pub(super) fn new(url: &Url, publisher: &str) -> anyhow::Result<Self> {
        Ok(Self {
            host: host(url)?,
            prefix: url.path().trim_end_matches('/').to_owned(),
            publisher: publisher.to_owned(),
        })
    }

    pub(super) fn stream(&self) -> Request {
        let headers = ["Accept: text/event-stream", "Authorization: Bearer {token}"];
        self.request("GET", "/notifications/stream", &headers)
    }

    /// `audience` is how a draft names whom it is for, as JSON with a comma after it, or nothing.
    pub(super) fn publication(&self, path: &str, audience: &str) -> Publication {
        let authorization = format!("Authorization: Bearer {}", self.publisher);
        let headers = [authorization.as_str(), "Content-Type: application/json"];
        Publication {
            single: self.request("POST", path, &headers),
            batch: self.request("POST", "/notifications/batch", &headers),
            body: Template::parse(&format!(r#"{{{audience}"message":"{{mark}} {{pad}}"}}"#)),
        }
    }

    fn request(&self, method: &str, path: &str, headers: &[&str]) -> Request {
        Request {
            method: method.to_owned(),
            host: self.host.clone(),
            path: Template::parse(&format!("{}{path}", self.prefix)),
            headers: headers.iter().map(|it| Template::parse(it)).collect(),
        }
    }
}

/// As a `Host` header has it.
pub(super) fn host(url: &Url) -> anyhow::Result<String> {
    let host = url.host_str().context("the URL names no host")?;
    Ok(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// Where it listens: the first of its addresses.
pub(super) fn address(url: &Url) -> anyhow::Result<SocketAddr> {
    if url.scheme() != "http" {
        return Err(Usage(format!(
            "--url: bench speaks plain http, and not {}",
            url.scheme()
        ))
        .into());
    }
    let host = url.host_str().context("the URL names no host")?;
    let port = url.port_or_known_default().unwrap_or(80);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = (bare, port)
        .to_socket_addrs()
        .with_context(|| format!("cannot find {host}"))?;
    addresses
        .next()
        .with_context(|| format!("{host} has no address"))
}
