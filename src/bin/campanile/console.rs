//! `campanile console`: a fresh link into the console of a running hub, for when the one that `serve` printed is used
//! up or scrolled away.

use anyhow::Context;
use campanile::auth::Scope;
use reqwest::Method;
use serde_json::Value;

use crate::client::Target;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// Print a link that signs in to the console of a running hub, once.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

const AFTER_HELP: &str = "\
Examples:
  campanile console
  campanile console --data /var/lib/campanile
  xdg-open \"$(campanile console)\"
  campanile console --url https://hub.example.com --token \"$ADMIN_TOKEN\"";

/// Asks the hub for a code and prints the link.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let client = args.target.client(settings, Scope::Admin)?;
    let answer = client
        .call(client.request(Method::POST, &["console", "code"]))
        .await?;
    let code = answer.get("code").and_then(Value::as_str);
    let code = code.ok_or_else(|| client.odd("its answer holds no code"))?;
    let mut link = client
        .base()
        .join("sign-in")
        .context("cannot make the link")?;
    link.query_pairs_mut().append_pair("code", code);
    output::line(link.as_str())?;
    output::words("it works once, within 15 minutes");
    Ok(())
}
