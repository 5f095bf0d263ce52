//! `campanile prune`: deletes what is old now, by other ages than the hub's if need be. The hub does it in steps that no
//! publisher notices, one for each call; the pause between two of them is here.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use campanile::clock::Timestamp;
use campanile::config::{Config, Setting};
use campanile::store::{Aged, MAX_COUNTED, Retention};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::reach::Reached;
use crate::settings::Settings;

/// Delete what is older than it is kept.
///
/// A hub does so by itself every minute; this is for shorter ages, or a look at what would go. While a hub runs on the
/// data directory it is asked to, in steps that no publisher notices; when none runs, its store is opened. A stream that
/// comes back with a place from before what is left is told of the gap.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The hub's data directory [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// How old notifications may be [default: as configured].
    #[arg(long, value_name = "AGE")]
    notifications: Option<String>,
    /// How old broadcasts may be [default: as configured].
    #[arg(long, value_name = "AGE")]
    broadcasts: Option<String>,
    /// How old idempotency keys may be, at least 24h [default: as configured].
    #[arg(long, value_name = "AGE")]
    idempotency: Option<String>,
    /// How old records of keys that were used again may be [default: as configured].
    #[arg(long, value_name = "AGE")]
    audit: Option<String>,
    /// How old webhooks that have come to an end may be [default: as configured].
    #[arg(long, value_name = "AGE")]
    webhooks: Option<String>,
    /// Count what would go, and delete nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON instead of words.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  campanile prune --dry-run
  campanile prune --notifications 7d --broadcasts 10m
  campanile prune --data /var/lib/campanile --notifications 7d --json";

/// The least wait between two steps, in which publishers have the store to themselves ...
const PAUSE: Duration = Duration::from_millis(25);
/// ... or so many times as long as the step took, as the hub does it by itself.
const PAUSE_SHARE: u32 = 2;

/// The most that goes in one commit of a store that nobody else uses.
const STEP: usize = 1_000;

/// What a hub answers to one step.
#[derive(Deserialize)]
struct Step {
    pruned: Aged,
    more: bool,
}

/// Counts, or deletes until nothing is left that is old.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let config = settings.load(&args.settings())?;
    let store = Reached::of(&config, false).await?;
    let outcome = work(&args, &config, &store).await;
    store.close().await;
    outcome
}

async fn work(args: &Args, config: &Config, store: &Reached) -> anyhow::Result<()> {
    let pruning = Pruning {
        store,
        ages: args.ages(),
        retention: Retention::from(&config.retention),
    };
    let left = pruning.aged().await?;
    if args.dry_run {
        return print(args.json, "left", "would delete", &left);
    }
    let bar = bar(left.total());
    let mut gone = Aged::default();
    let outcome = pruning.all(&mut gone, &bar).await;
    bar.finish_and_clear();
    // Also when it was cut short: what has gone is gone.
    print(args.json, "pruned", "deleted", &gone)?;
    outcome
}

struct Pruning<'a> {
    store: &'a Reached,
    /// As they were given: a hub has its own for the rest.
    ages: Map<String, Value>,
    retention: Retention,
}

impl Pruning<'_> {
    async fn aged(&self) -> anyhow::Result<Aged> {
        match self.store {
            Reached::Running(client) => {
                #[derive(Deserialize)]
                struct Answer {
                    left: Aged,
                }
                let mut asked = self.ages.clone();
                asked.insert("dryRun".to_owned(), true.into());
                Ok(ask::<Answer>(client, &asked).await?.left)
            }
            Reached::Stopped(opened) => {
                Ok(opened.store.aged(Timestamp::now(), self.retention).await?)
            }
        }
    }

    async fn step(&self) -> anyhow::Result<Step> {
        match self.store {
            Reached::Running(client) => ask(client, &self.ages).await,
            Reached::Stopped(opened) => {
                let pruned = opened
                    .store
                    .prune(Timestamp::now(), self.retention, STEP)
                    .await?;
                Ok(Step {
                    pruned: pruned.gone,
                    more: pruned.more,
                })
            }
        }
    }

    async fn all(&self, gone: &mut Aged, bar: &ProgressBar) -> anyhow::Result<()> {
        loop {
            let begun = Instant::now();
            let step = self.step().await?;
            gone.add(step.pruned);
            // What grew old meanwhile goes too.
            bar.set_length(bar.length().unwrap_or(0).max(gone.total()));
            bar.set_position(gone.total());
            if !step.more {
                return Ok(());
            }
            if matches!(self.store, Reached::Running(_)) {
                tokio::time::sleep(PAUSE.max(begun.elapsed() * PAUSE_SHARE)).await;
            }
        }
    }
}

async fn ask<T: for<'de> Deserialize<'de>>(
    client: &Client,
    body: &Map<String, Value>,
) -> anyhow::Result<T> {
    let request = client.request(Method::POST, &["prune"]).json(body);
    let answer = client.call(request).await?;
    Ok(serde_json::from_value(answer)
        .map_err(|_| client.odd("its answer does not say what was pruned"))?)
}

/// On a terminal; elsewhere one that nobody sees.
fn bar(length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("pruning {bar:40} {pos} of {len}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

fn print(as_json: bool, key: &str, verb: &str, counted: &Aged) -> anyhow::Result<()> {
    if as_json {
        return output::line(&json!({ key: counted }).to_string());
    }
    output::line(&format!("{verb} {}", in_words(counted)))
}

impl Args {
    fn given(&self) -> impl Iterator<Item = (&'static str, &String)> {
        [
            ("notifications", &self.notifications),
            ("broadcasts", &self.broadcasts),
            ("idempotency", &self.idempotency),
            ("audit", &self.audit),
            ("webhooks", &self.webhooks),
        ]
        .into_iter()
        .filter_map(|(kind, age)| Some((kind, age.as_ref()?)))
    }

    /// As values of the configuration, which says what ages are allowed.
    fn settings(&self) -> Vec<Setting> {
        let data = self.data.iter();
        let data = data.map(|data| Setting::flag("--data", "serve.data", data));
        let ages = self.given().map(|(kind, age)| {
            Setting::flag(&format!("--{kind}"), &format!("retention.{kind}"), age)
        });
        data.chain(ages).collect()
    }

    fn ages(&self) -> Map<String, Value> {
        self.given()
            .map(|(kind, age)| (kind.to_owned(), age.as_str().into()))
            .collect()
    }
}

/// Whatever there is any of.
fn in_words(counted: &Aged) -> String {
    let kinds = [
        (counted.notifications, "notification"),
        (counted.broadcasts, "broadcast"),
        (counted.idempotency, "idempotency key"),
        (counted.audit, "audit record"),
        (counted.throttles, "throttle"),
        (counted.webhooks, "webhook"),
    ];
    let words: Vec<String> = kinds
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, kind)| {
            let more = if n == MAX_COUNTED { " or more" } else { "" };
            let plural = if n == 1 { "" } else { "s" };
            format!("{n}{more} {kind}{plural}")
        })
        .collect();
    if words.is_empty() {
        return "nothing".to_owned();
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_without_the_kinds_of_which_there_are_none() {
        let counted = Aged {
            notifications: MAX_COUNTED,
            broadcasts: 1,
            throttles: 2,
            ..Aged::default()
        };
        let expected = "1000000 or more notifications, 1 broadcast, 2 throttles";
        assert_eq!(in_words(&counted), expected);
        assert_eq!(in_words(&Aged::default()), "nothing");
    }
}
