//! Files that are nobody's but their owner's: the secrets, and the store, which holds what people are told and what signs
//! webhooks. The hub makes them so (mode 0600); what it finds otherwise it uses all the same, and says so.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::events;

/// What makes a file somebody else's business: any right of its group or of others.
const OTHERS: u32 = 0o077;

/// Says so if others than its owner can open the file.
pub(crate) fn tell_if_exposed(path: &Path, file: &Metadata) {
    let mode = file.mode() & 0o777;
    if mode & OTHERS != 0 {
        tracing::warn!(
            event = events::FILE_EXPOSED,
            path = %path.display(),
            mode = format!("{mode:04o}"),
            "others than its owner can open a file that holds secrets: chmod 600 it"
        );
    }
}
