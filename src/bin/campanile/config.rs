//! `campanile config`: the documentation of the configuration, which is the file of its defaults; or what is in effect.

use anyhow::Context;
use campanile::config::DEFAULTS;

use crate::output;
use crate::settings::Settings;

/// Print the configuration.
///
/// Without options: every key with its default and what it means, as a TOML file to start from.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Print what is in effect here: defaults, file and environment together, without comments.
    #[arg(long)]
    effective: bool,
}

const AFTER_HELP: &str = "\
Examples:
  campanile config > campanile.toml                start a configuration file from the defaults
  campanile config --effective                     what would `campanile serve` run with here?
  CAMPANILE_STREAM_HEARTBEAT=20s campanile config --effective | grep heartbeat";

/// Prints one or the other.
pub(crate) fn run(args: &Args, settings: &Settings) -> anyhow::Result<()> {
    if !args.effective {
        return output::text(DEFAULTS.as_bytes());
    }
    let config = settings.load(&[])?;
    let effective = toml::to_string(&config).context("cannot write the configuration as TOML")?;
    output::text(effective.as_bytes())
}
