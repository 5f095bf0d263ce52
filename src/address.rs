//! Which network addresses count as one client, and how much each of those may hold at a time.
//!
//! An office behind one address and somebody who opens sockets until nothing is left look alike, so the caps are generous:
//! they are there so that one address cannot have everything, not to be met in daily use. IPv6 is counted by /64, because
//! that is the least that a subscriber is given (RFC 6177): by single address there would be no cap at all.
//!
//! An address is kept for as long as something is held from it, and goes with the last of that: the table can never be
//! larger than what the other caps let in.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::events;
use crate::rate::Seldom;
use crate::webhooks::Cidr;

/// Where no cap is configured, one address may have this part of all there is.
const SHARE: usize = 4;

/// How much one address may hold: what is configured, or, for 0, its share of all.
pub(crate) fn cap(configured: usize, all: usize) -> usize {
    match configured {
        0 => (all / SHARE).max(1),
        configured => configured,
    }
}

/// The proxies whose word is taken for who is behind them.
#[derive(Clone, Debug)]
pub(crate) struct Proxies(Arc<[Cidr]>);

impl Proxies {
    pub(crate) fn new(trusted: &[Cidr]) -> Self {
        Self(trusted.into())
    }

    /// Whether it is one of them. An IPv4 address in IPv6's clothes, as a socket for both sees it, is that IPv4 address.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|block| block.contains(address))
    }
}

/// The addresses that count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Block(IpAddr);

impl From<IpAddr> for Block {
    fn from(address: IpAddr) -> Self {
        const NETWORK: u128 = u128::MAX << 64;
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
            address => address,
        })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// What is held from each address, of one kind.
#[derive(Debug)]
pub(crate) struct PerAddress {
    /// What it is, for the log.
    of: &'static str,
    max: usize,
    held: Mutex<HashMap<Block, usize>>,
    telling: Seldom,
}

impl PerAddress {
    /// At most `max` for each.
    pub(crate) fn new(of: &'static str, max: usize) -> Arc<Self> {
        Arc::new(Self {
            of,
            max,
            held: Mutex::default(),
            telling: Seldom::default(),
        })
    }

    /// One more for this address; none if it has as many as it may have.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let block = Block::from(address);
        let mut held = self.lock();
        let count = held.entry(block).or_default();
        if *count < self.max {
            *count += 1;
            return Some(Place {
                block,
                of: Arc::clone(self),
            });
        }
        drop(held);
        if self.telling.now() {
            tracing::warn!(
                event = events::ADDRESS_FULL,
                address = %block,
                of = self.of,
                max = self.max,
                "an address has as many as one may have; if a proxy stands there, name it in serve.trusted_proxies"
            );
        }
        None
    }

    /// Nobody panics while holding it: there is nothing in there but counting.
    fn lock(&self) -> MutexGuard<'_, HashMap<Block, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of what an address holds; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    block: Block,
    of: Arc<PerAddress>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        if let Some(count) = held.get_mut(&self.block) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_forgotten_with_the_last_that_it_held() {
        let streams = PerAddress::new("streams", 2);
        let first = streams.take(ip("203.0.113.7"));
        let second = streams.take(ip("::ffff:203.0.113.7"));
        assert!(first.is_some() && second.is_some());
        assert!(streams.take(ip("203.0.113.7")).is_none());
        assert!(streams.take(ip("203.0.113.8")).is_some());
        drop(first);
        assert!(streams.take(ip("203.0.113.7")).is_some());
        drop(second);
        assert!(streams.lock().is_empty());
    }

    #[test]
    fn ipv6_is_counted_by_64_bits_of_network() {
        let streams = PerAddress::new("streams", 1);
        let _held = streams.take(ip("2001:db8:1:2::1")).expect("the first");
        assert!(streams.take(ip("2001:db8:1:2:ffff::9")).is_none());
        assert!(streams.take(ip("2001:db8:1:3::1")).is_some());
        assert_eq!(
            Block::from(ip("2001:db8:1:2:ffff::9")).to_string(),
            "2001:db8:1:2::/64"
        );
    }

    #[test]
    fn without_a_cap_an_address_has_a_quarter_of_all_and_never_nothing() {
        for (configured, all, expected) in [
            (0, 1_000, 250),
            (0, 3, 1),
            (7, 1_000, 7),
            (5_000, 100, 5_000),
        ] {
            assert_eq!(cap(configured, all), expected);
        }
    }
}
