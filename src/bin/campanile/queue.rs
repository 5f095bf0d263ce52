//! `campanile queue`: what is wrong with the queue, and claims that are taken back by hand. A running hub is asked over
//! HTTP; when none runs, its store is read here, as it is.

mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use campanile::clock::Timestamp;
use campanile::config::{Config, duration};
use campanile::diagnosis::{Diagnosis, DiagnosisQuery, Facts, Severity};
use campanile::store::OpenStoreError;
use campanile::store::sqlite::SqliteStore;
use campanile::waiting::{Unlock, Unlocked};
use clap::Subcommand;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::Client;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::reach::Reached;
use crate::settings::Settings;

/// See what is wrong with the queue, and take back claims that nobody finished.
///
/// While a hub runs on the data directory it is asked; when none runs, its store is read.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The hub's data directory [default: ./campanile-data].
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<String>,
    #[command(subcommand)]
    action: Action,
}

const AFTER_HELP: &str = "\
Examples:
  campanile queue diagnose              what is wrong first, and what to type next; exit status 1 on an alert
  campanile queue diagnose --json --data /var/lib/campanile
  campanile queue unlock                what it would release
  campanile queue unlock --execute      releases it";

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what is wrong, and what to type next. Changes nothing; exit status 1 on an alert.
    Diagnose {
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// Look at every row and at every page of the file. A running hub gives it 20 s.
        #[arg(long)]
        deep: bool,
    },
    /// Release what has been processing for too long: it is owed again, and asked after at once. Without --execute
    /// nothing is changed.
    Unlock {
        /// Do it.
        #[arg(long)]
        execute: bool,
        /// Release what has no attempt left as well; its attempts begin anew.
        #[arg(long)]
        force: bool,
        /// Processing for longer than this. When no hub runs every claim is stale, however old.
        #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration::parse)]
        older_than: Duration,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
}

/// The queue needs somebody. Said once more on stderr, for whoever only reads that.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Alert(String);

/// Does it, over HTTP or in the store.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let config = settings.load_for(args.data.as_deref())?;
    let data = args.data.as_deref();
    match args.action {
        Action::Diagnose { json, deep } => diagnose(&config, data, json, deep).await,
        Action::Unlock {
            execute,
            force,
            older_than,
            json,
        } => {
            let unlock = Unlock {
                now: Timestamp::now(),
                older_than,
                max_attempts: config.delivery.max_attempts(),
                force,
                execute,
            };
            unlocked(&config, data, unlock, json).await
        }
    }
}

async fn diagnose(
    config: &Config,
    data: Option<&str>,
    as_json: bool,
    deep: bool,
) -> anyhow::Result<()> {
    let diagnosis = match look(config.serve.database_path(), deep).await? {
        Ok(facts) => Diagnosis::of(facts, false),
        Err(OpenStoreError::Locked { .. }) => match Reached::of(config, false).await? {
            Reached::Running(client) => ask(&client, deep).await?,
            // The hub has ended since.
            Reached::Stopped(opened) => {
                let facts = opened.store.diagnose(stopped(deep)).await;
                opened.store.close().await;
                Diagnosis::of(facts?, false)
            }
        },
        Err(error) => return Err(error.into()),
    };
    if as_json {
        output::line(&serde_json::to_string(&diagnosis)?)?;
    } else {
        output::text(table::diagnosis(&diagnosis, data).as_bytes())?;
    }
    let alerts = diagnosis.findings.iter();
    let alerts = alerts.filter(|finding| finding.severity == Severity::Alert);
    match alerts.count() {
        0 => Ok(()),
        1 => Err(Alert("1 alert".to_owned()).into()),
        more => Err(Alert(format!("{more} alerts")).into()),
    }
}

/// What a stopped hub's store is asked: whatever is claimed was left by a hub that has ended, and nobody waits.
fn stopped(deep: bool) -> DiagnosisQuery {
    DiagnosisQuery {
        now: Timestamp::now(),
        lease: Duration::ZERO,
        deep: deep.then_some(Duration::MAX),
    }
}

async fn look(path: PathBuf, deep: bool) -> anyhow::Result<Result<Facts, OpenStoreError>> {
    tokio::task::spawn_blocking(move || SqliteStore::look(&path, &stopped(deep)))
        .await
        .context("reading the store panicked")
}

async fn ask(client: &Client, deep: bool) -> anyhow::Result<Diagnosis> {
    let query: &[(&str, &str)] = if deep { &[("deep", "true")] } else { &[] };
    let request = client.request_with(Method::GET, &["queue", "diagnosis"], query);
    understood(client, client.call(request).await?)
}

fn understood<T: DeserializeOwned>(client: &Client, answer: Value) -> anyhow::Result<T> {
    serde_json::from_value(answer).map_err(|error| {
        client
            .odd(&format!("its answer is not understood: {error}"))
            .into()
    })
}

async fn unlocked(
    config: &Config,
    data: Option<&str>,
    unlock: Unlock,
    as_json: bool,
) -> anyhow::Result<()> {
    let (outcome, running) = match Reached::of(config, false).await? {
        Reached::Running(client) => (over_http(&client, &unlock).await, true),
        Reached::Stopped(opened) => {
            let unlocked = opened.store.unlock(unlock).await;
            opened.store.close().await;
            (unlocked.map_err(Into::into), false)
        }
    };
    let unlocked = outcome?;
    if as_json {
        return output::line(&serde_json::to_string(&unlocked)?);
    }
    output::text(table::unlocked(&unlocked, &unlock, running, data).as_bytes())
}

async fn over_http(client: &Client, unlock: &Unlock) -> anyhow::Result<Unlocked> {
    let body = json!({
        "execute": unlock.execute,
        "force": unlock.force,
        "olderThan": duration::format(unlock.older_than),
    });
    let request = client.request(Method::POST, &["queue", "unlock"]);
    understood(client, client.call(request.json(&body)).await?)
}
