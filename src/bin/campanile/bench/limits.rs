//! File descriptors: whether there are enough is known before anything is opened.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::exit::Usage;

/// What the tool needs beside its sockets.
const OWN: u64 = 32;
/// What a hub keeps back for its store and its runtime, and the share of its sockets that are never streams: as in
/// src/server/descriptors.rs, with something to spare.
const HUB_KEEPS: u64 = 160;
const HUB_NOT_STREAMS: u64 = 31;

/// Raises this process's limit to what it needs, and fails if it or a hub of its own may not have that many.
pub(super) fn check(streams: usize, publishers: usize, own_hub: bool) -> anyhow::Result<()> {
    let sockets = streams as u64 + publishers as u64;
    let client = sockets + OWN;
    let hub = sockets + sockets.div_ceil(HUB_NOT_STREAMS) + HUB_KEEPS;
    let needed = if own_hub { client.max(hub) } else { client };
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if needed > most {
        return Err(too_low(streams, needed, most).into());
    }
    let current = limit.current.unwrap_or(u64::MAX);
    if client > current {
        limit.current = Some(client);
        setrlimit(Resource::Nofile, limit).map_err(|_| too_low(streams, needed, current))?;
    }
    Ok(())
}

fn too_low(streams: usize, needed: u64, most: u64) -> Usage {
    Usage(format!(
        "--streams {streams} needs {needed} open files, and {most} are allowed; allow more with \
         `sudo prlimit --pid $$ --nofile={needed}` in this shell (as root: `ulimit -n {needed}`)"
    ))
}
