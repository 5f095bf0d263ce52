//! How many sockets and streams there can be: fewer than the process has descriptors, with some kept back.
//!
//! A process that runs out of descriptors cannot even accept a connection in order to refuse it, and may fail to open
//! its own files. So the limit is raised to what the system allows, and a part is kept back for the store and the
//! runtime. The rest is what sockets may be open, whatever they carry; streams get all of it but a part, so that a crowd
//! of listeners cannot shut out the publishers.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Kept back for the store, the runtime, standard streams and refusals.
const KEPT_BACK: usize = 128;
/// The most sockets that are derived, where the system sets no limit worth the name.
const MAX_DERIVED: usize = 1_000_000;
/// One socket in so many is never a stream.
const NOT_STREAMS: usize = 32;

/// How many descriptors sockets may take.
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
        let (sockets, streams) = (&mut config.serve.max_connections, &mut config.stream.max);
        if *sockets == 0 {
            *sockets = MAX_DERIVED;
        }
        *sockets = (*sockets).min(all);
        let possible = *sockets - (*sockets / NOT_STREAMS).max(1).min(*sockets - 1);
        if *streams > possible {
            tracing::warn!(
                wanted = *streams,
                possible,
                "there cannot be as many streams as that"
            );
        }
        if *streams == 0 || *streams > possible {
            *streams = possible;
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
    fn streams_never_take_every_socket_nor_sockets_every_descriptor() {
        check(896, (0, 0), (896, 868));
        check(896, (100, 0), (100, 97));
        check(896, (0, 800), (896, 800));
        check(896, (100, 5_000), (100, 97));
        check(896, (5_000, 5_000), (896, 868));
        check(2, (0, 0), (2, 1));
        check(usize::MAX, (0, 0), (1_000_000, 968_750));
    }
}
