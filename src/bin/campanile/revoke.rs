//! `campanile revoke`: a user's credentials are taken back. A running hub ends their streams; when none runs, there are
//! none, and the store is enough.

use std::sync::Arc;

use campanile::audience::identifier;
use campanile::clock::Timestamp;
use reqwest::Method;
use serde_json::Value;

use crate::logging::{self, LogFormat};
use crate::output;
use crate::reach::Reached;
use crate::settings::Settings;

/// Take back what was issued to a user: their streams end, and their tokens and sessions are refused.
///
/// What is issued to them from the next second on is good again. Whoever signs tokens must stop signing for them first.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Whose.
    #[arg(long, value_name = "USER", value_parser = user)]
    user: Arc<str>,
    /// The hub's data directory [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  campanile revoke --user 42
  campanile revoke --user 42 --data /var/lib/campanile";

/// Does it, over HTTP or in the store.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let config = settings.load_for(args.data.as_deref())?;
    let hub = Reached::of(&config, false).await?;
    let outcome = revoke(&hub, args.user).await;
    hub.close().await;
    output::words(&outcome?);
    Ok(())
}

async fn revoke(hub: &Reached, user: Arc<str>) -> anyhow::Result<String> {
    let (at, streams) = match hub {
        Reached::Running(client) => {
            let request = client.request(Method::POST, &["users", &user, "revoke"]);
            let answer = client.call(request).await?;
            let at = answer.get("revokedAt").and_then(Value::as_str);
            let at = at.ok_or_else(|| client.odd("its answer does not say when"))?;
            let streams = answer.get("streamsEnded").and_then(Value::as_u64);
            (at.to_owned(), streams.unwrap_or_default())
        }
        Reached::Stopped(opened) => {
            let now = Timestamp::now();
            opened.store.revoke_user(Arc::clone(&user), now).await?;
            (now.to_string(), 0)
        }
    };
    let streams = match streams {
        0 => "no stream was open".to_owned(),
        1 => "1 stream has ended".to_owned(),
        many => format!("{many} streams have ended"),
    };
    Ok(format!(
        "{user} is revoked: what was issued before {at} is refused, and {streams}"
    ))
}

/// A name that can also stand in a path: `/users/../revoke` would be another route.
fn user(text: &str) -> Result<Arc<str>, String> {
    match identifier(text) {
        Ok(name) if matches!(&*name, "." | "..") => Err("must not be . or ..".to_owned()),
        Ok(name) => Ok(name),
        Err(error) => Err(error.to_string()),
    }
}
