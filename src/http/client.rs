//! At which address a request's client is, as far as that can be known.
//!
//! The peer of the connection is the client, unless it is a proxy that the configuration trusts: then the client is who
//! that proxy says (`X-Forwarded-For`). Each proxy appends whom it heard, so the list is read from the right, where our
//! own wrote, and what a client has put there itself stands left of that and is never come to. The walk ends at the
//! first address that is no trusted proxy, and at the first word that is no address.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::address::Proxies;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address; none if there is nobody but trusted proxies, or no peer is known. The hub's own server says of each
/// request who the peer is, and others do that are made by `into_make_service_with_connect_info::<SocketAddr>()`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) Option<IpAddr>);

impl<S> FromRequestParts<S> for ClientAddress
where
    S: Send + Sync,
    Proxies: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(peer)| peer.ip());
        Ok(Self(address(
            peer,
            &parts.headers,
            &Proxies::from_ref(state),
        )))
    }
}

fn address(peer: Option<IpAddr>, headers: &HeaderMap, proxies: &Proxies) -> Option<IpAddr> {
    let stranger = |address: IpAddr| (!proxies.trusts(address)).then_some(address);
    if let Some(client) = stranger(peer?) {
        return Some(client);
    }
    // Several lines are one list in their order (RFC 9110, section 5.3).
    headers
        .get_all(FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map_while(hop)
        .find_map(stranger)
}

/// One address of the list: some proxies write its port as well.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok().map(IpAddr::V6)
    };
    text.parse()
        .ok()
        .or_else(|| {
            text.parse()
                .ok()
                .map(|with_port: SocketAddr| with_port.ip())
        })
        .or_else(bare)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(peer: &str, lines: &[&str], expected: Option<&str>) {
        let proxies = Proxies::new(
            &["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().expect("a test's own words")),
        );
        let peer: IpAddr = peer.parse().expect("a test's own words");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                FORWARDED_FOR,
                HeaderValue::from_bytes(line.as_bytes()).expect("a test's own words"),
            );
        }
        let found = address(Some(peer), &headers, &proxies);
        assert_eq!(
            found,
            expected.map(|it| it.parse().expect("a test's own words")),
            "{peer} {lines:?}"
        );
    }

    #[test]
    fn a_stranger_s_word_about_itself_is_not_taken() {
        check("203.0.113.9", &["198.51.100.1"], Some("203.0.113.9"));
        check("203.0.113.9", &[], Some("203.0.113.9"));
    }

    #[test]
    fn a_trusted_proxy_s_list_is_read_from_the_right_past_other_proxies() {
        check("10.0.0.1", &["198.51.100.1"], Some("198.51.100.1"));
        check(
            "10.0.0.1",
            &["1.1.1.1, 198.51.100.1,10.0.0.2"],
            Some("198.51.100.1"),
        );
        check(
            "10.0.0.1",
            &["1.1.1.1", "198.51.100.1", "10.0.0.2 "],
            Some("198.51.100.1"),
        );
        check("::ffff:10.0.0.1", &["2001:db8::1"], Some("2001:db8::1"));
        check("fd00::1", &["[2001:db8::1]:443"], Some("2001:db8::1"));
        check("fd00::1", &["[2001:db8::1]"], Some("2001:db8::1"));
        check("10.0.0.1", &["198.51.100.1:5000"], Some("198.51.100.1"));
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        for garbage in [
            "unknown",
            "_hidden",
            "",
            " ",
            "10.0.0.300",
            "caf\u{e9}",
            "1.2.3.4;",
        ] {
            let list = format!("198.51.100.1, {garbage}, 10.0.0.2");
            check("10.0.0.1", &[&list], None);
            check("10.0.0.1", &["198.51.100.1", garbage], None);
            check("10.0.0.1", &[garbage, "198.51.100.1"], Some("198.51.100.1"));
        }
        check("10.0.0.1", &[], None);
        check("10.0.0.1", &["10.1.2.3, 10.0.0.2"], None);
    }

    #[test]
    fn without_a_peer_there_is_no_address() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        assert_eq!(address(None, &headers, &Proxies::new(&[])), None);
    }
}
