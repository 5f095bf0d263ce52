//! `campanile token`: a token for a user, signed with the hub's secret. No hub need run: the secret is a file, and is
//! made here if `serve` has not made it yet.

use std::sync::Arc;
use std::time::Duration;

use campanile::audience::identifier;
use campanile::auth::{MAX_TOKEN_ROLES, Mint, Scope};
use campanile::clock::Timestamp;
use campanile::config::duration;

use crate::exit::Usage;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::{Settings, authenticator};

/// Print a token for a user, signed with the hub's secret.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The hub's data directory, where the secret is [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The user that the token names.
    #[arg(long, value_parser = identifier)]
    user: Arc<str>,
    /// A role of theirs; may be given several times.
    #[arg(long, value_parser = identifier)]
    role: Vec<Arc<str>>,
    /// What it allows beyond reading their own: publish, admin; may be given several times.
    #[arg(long)]
    scope: Vec<Scope>,
    /// How long it is valid: 90s, 1h, 30d.
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    ttl: Duration,
}

const AFTER_HELP: &str = "\
Examples:
  campanile token --user 42 --role ADMIN --role MANAGER
  campanile token --data /var/lib/campanile --user orders --scope publish --ttl 30d
  TOKEN=$(campanile token --user 42)
  curl -N -H \"Authorization: Bearer $TOKEN\" localhost:8400/notifications/stream";

/// The longest life of a token: ten years.
const MAX_TTL: Duration = Duration::from_hours(24 * 3650);

/// Prints the token alone.
pub(crate) fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    if args.role.len() > MAX_TOKEN_ROLES {
        let usage = format!("--role: a token has at most {MAX_TOKEN_ROLES} roles");
        return Err(Usage(usage).into());
    }
    let config = settings.load_for(args.data.as_deref())?;
    let secret = config.serve.secret_path();
    // Whether it is there cannot always be told; then reading it says why.
    if secret.try_exists().is_ok_and(|there| !there) {
        // In the wrong directory, the token would be one that no hub takes.
        output::words(&format!(
            "campanile: made a new secret in {}; a hub takes this token if it serves with --data {}",
            secret.display(),
            config.serve.data.display()
        ));
    }
    let mint = Mint {
        user: args.user.to_string(),
        roles: args.role.iter().map(ToString::to_string).collect(),
        scopes: args.scope.into_iter().collect(),
        ttl: args.ttl,
    };
    output::line(&authenticator(&config)?.mint(mint, Timestamp::now()))
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let ttl = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=MAX_TTL).contains(&ttl) {
        Ok(ttl)
    } else {
        Err("must be 1s to 3650d".to_owned())
    }
}
