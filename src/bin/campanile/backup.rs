//! `campanile backup`: a copy of the store in one file, beside a running hub or of a stopped one's. The hub is not asked:
//! its store can be read by whoever may read the file.

use std::path::PathBuf;

use anyhow::Context;
use campanile::store::sqlite::{Copied, back_up};

use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// Copy the store into one file, while a hub serves it or not.
///
/// Everything that was acknowledged before the command began is in the copy. Put it back with `campanile restore`. The
/// secret that signs tokens is not in it: it is the file `secret` in the data directory, and seldom changes.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The file to write.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The hub's data directory [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Replace the file if it exists, once the new copy is whole.
    #[arg(long)]
    force: bool,
}

const AFTER_HELP: &str = "\
Examples:
  campanile backup monday.db
  campanile backup --data /var/lib/campanile /backups/campanile-$(date +%F).db";

/// Copies.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let config = settings.load_for(args.data.as_deref())?;
    let database = config.serve.database_path();
    let Args { file, force, .. } = args;
    let target = file.clone();
    output::words(&format!("copying {} ...", database.display()));
    let copying = tokio::task::spawn_blocking(move || back_up(&database, &target, force));
    let copied = copying.await.context("copying the store panicked")??;
    let contents = contents(&copied);
    output::line(&format!("copied {contents} to {}", file.display()))
}

/// What is in a copy, in words.
pub(crate) fn contents(copied: &Copied) -> String {
    let Copied {
        notifications,
        broadcasts,
        bytes,
    } = copied;
    let count = |n: u64, of: &str| format!("{n} {of}{}", if n == 1 { "" } else { "s" });
    format!(
        "{} and {} ({} KiB)",
        count(*notifications, "notification"),
        count(*broadcasts, "broadcast"),
        bytes.div_ceil(1024)
    )
}
