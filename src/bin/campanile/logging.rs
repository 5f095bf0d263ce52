//! The log: lines on stderr, for people or as JSON, filtered by `CAMPANILE_LOG`.

use std::io::{self, IsTerminal};

use campanile::config::Environment;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::exit::Usage;

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log, with `CAMPANILE_LOG` or else `default_filter` as its filter.
pub(crate) fn start(
    environment: &Environment,
    format: LogFormat,
    default_filter: &str,
) -> anyhow::Result<()> {
    let filter = environment.log()?.unwrap_or(default_filter);
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Usage(format!(
            "CAMPANILE_LOG: {filter:?} is not a filter: {error}"
        ))
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
