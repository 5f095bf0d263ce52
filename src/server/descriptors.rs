//! How many connections and streams there can be: fewer than the process has descriptors, with some kept back.
//!
//! A process that runs out of descriptors cannot even accept a connection in order to refuse it, and may fail to open
//! its own files. So the limit is raised to what the system allows, a part is kept back for the store and the runtime,
//! and the rest is divided between connections that carry requests and streams: a crowd of listeners can then not
//! shut out the publishers, nor the other way round.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Kept back for the store, the runtime, standard streams and refusals.
const KEPT_BACK: usize = 128;
/// The most connections that are derived: each may hold a request's body.
const MAX_DERIVED_CONNECTIONS: usize = 16_384;
/// The most streams that are derived, where the system sets no limit worth the name.
const MAX_DERIVED_STREAMS: usize = 1_000_000;

/// How many descriptors connections and streams may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors(usize);

impl Descriptors {
    /// Raises the process's soft limit to its hard one, and keeps some back.
    pub(crate) fn raise() -> Self {
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            let soft = limit.current;
            limit.current = limit.maximum;
            if let Err(error) = setrlimit(Resource::Nofile, limit) {
                tracing::warn!(%error, "the limit on file descriptors could not be raised");
                limit.current = soft;
            }
        }
        let limit = limit.current.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        Self(limit.saturating_sub(KEPT_BACK).max(2))
    }

    /// Fills in what the configuration leaves to be derived, and lowers what cannot be.
    pub(crate) fn divide(self, config: &mut Config) {
        let Self(all) = self;
        let (connections, streams) = (&mut config.serve.max_connections, &mut config.stream.max);
        if *connections == 0 {
            let rest = if *streams == 0 {
                all / 4
            } else {
                all.saturating_sub(*streams)
            };
            *connections = rest.clamp(1, MAX_DERIVED_CONNECTIONS);
        }
        *connections = (*connections).min(all - 1);
        let rest = all - *connections;
        if *streams == 0 {
            *streams = rest.min(MAX_DERIVED_STREAMS);
        } else if *streams > rest {
            tracing::warn!(
                wanted = *streams,
                possible = rest,
                "the limit on file descriptors is too low for that many streams"
            );
            *streams = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(all: usize, wanted: (usize, usize), given: (usize, usize)) {
        let mut config = Config::default();
        (config.serve.max_connections, config.stream.max) = wanted;
        Descriptors(all).divide(&mut config);
        assert_eq!((config.serve.max_connections, config.stream.max), given);
    }

    #[test]
    fn connections_and_streams_never_take_more_than_there_is() {
        check(896, (0, 0), (224, 672));
        check(896, (100, 0), (100, 796));
        check(896, (0, 800), (96, 800));
        check(896, (100, 5_000), (100, 796));
        check(896, (5_000, 5_000), (895, 1));
        check(2, (0, 0), (1, 1));
        check(usize::MAX, (0, 0), (16_384, 1_000_000));
    }
}
