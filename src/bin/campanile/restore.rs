//! `campanile restore`: puts a copy of the store back, for the next `campanile serve`.

use std::path::PathBuf;

use anyhow::Context;
use campanile::store::sqlite::{Restore, restore};

use crate::backup::contents;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// Put a copy that `campanile backup` made back as the store of a hub, which must not be running.
///
/// The copy is checked whole first, and stays as it is. Clients that come back with a place from before are told of a gap,
/// and go on from there.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The copy.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The hub's data directory [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Skip so many numbers of every kind of reference: more than were given since the copy was made, for those must not
    /// be given again.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    advance_references: u32,
    /// If there is a store, move it aside.
    #[arg(long)]
    force: bool,
}

const AFTER_HELP: &str = "\
Examples:
  campanile restore monday.db
  campanile restore --data /var/lib/campanile --force --advance-references 500 /backups/campanile-2026-11-20.db";

/// Puts it back.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let config = settings.load_for(args.data.as_deref())?;
    let database = config.serve.database_path();
    let options = Restore {
        advance_references: args.advance_references,
        replace: args.force,
    };
    output::words(&format!("checking and copying {} ...", args.file.display()));
    let place = database.clone();
    let restoring = tokio::task::spawn_blocking(move || restore(&args.file, &place, options));
    let restored = restoring.await.context("restoring the store panicked")??;
    if let Some(aside) = restored.set_aside {
        output::words(&format!(
            "the store that was there is {} now",
            aside.display()
        ));
    }
    if options.advance_references == 0 {
        output::words(
            "numbers that were drawn since the copy was made will be drawn again; --advance-references N skips N of each",
        );
    } else {
        output::words(&format!(
            "{} reference counters were advanced by {}; a prefix that was first used after the copy was made begins anew",
            restored.advanced, options.advance_references
        ));
    }
    output::line(&format!(
        "restored {} to {}",
        contents(&restored.copied),
        database.display()
    ))
}
