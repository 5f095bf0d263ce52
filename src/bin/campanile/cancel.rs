//! `campanile cancel`: takes back a notification that has reached nobody.

use campanile::auth::Scope;
use reqwest::Method;

use crate::client::Target;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// Cancel a notification that is scheduled, or that nobody took.
///
/// What is on its way, or what somebody has, cannot be cancelled.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// The notification's id, or its reference.
    #[arg(value_name = "ID|REFERENCE")]
    which: String,
}

const AFTER_HELP: &str = "\
Examples:
  campanile send --user 42 --message 'Out of office' --deliver-at 2026-12-24T18:00:00Z
  campanile cancel 019aa4f8-41a3-7c51-8f0e-2f1b0a6f5a10";

/// Asks the hub to.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let client = args.target.client(settings, Scope::Admin)?;
    let path = ["notifications", &args.which];
    client.call(client.request(Method::DELETE, &path)).await?;
    output::words("cancelled");
    Ok(())
}
