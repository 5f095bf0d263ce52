//! `campanile why`: what became of one notification for each of its recipients, on one screen.

use std::fmt::Write as _;

use anyhow::anyhow;
use campanile::delivery::{self, Lookup, LookupQuery, Outcome, Which};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::logging::{self, LogFormat};
use crate::output::{self, shortened};
use crate::reach::Reached;
use crate::settings::Settings;

/// How many recipients a screen holds; those who did not get it come first.
const SHOWN: usize = 30;

/// Tell what became of a notification, and why somebody did not get it.
///
/// While a hub runs on the data directory it is asked; when none runs, its store is opened.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The notification's id, or its reference.
    #[arg(value_name = "ID|REFERENCE")]
    which: String,
    /// The hub's data directory [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  campanile why CNC-1126-0001
  campanile why 019aa4f8-41a3-7c51-8f0e-2f1b0a6f5a10
  campanile why CNC-1126-0001 --json | jq '.deliveries[] | select(.outcome == \"failed\")'";

/// As the hub answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Story {
    notification_id: String,
    event_id: Option<String>,
    reference: Option<String>,
    kind: String,
    status: String,
    publisher: String,
    created_at: String,
    deliver_at: Option<String>,
    expires_at: Option<String>,
    cancelled_at: Option<String>,
    cancelled_by: Option<String>,
    notification: Value,
    deliveries: Vec<Told>,
}

/// One recipient.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    recipient: Recipient,
    outcome: String,
    attempts: u32,
    reason: String,
    changed_at: Option<String>,
    next_at: Option<String>,
    streams: Option<Streams>,
}

#[derive(Debug, Deserialize)]
struct Recipient {
    kind: String,
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Streams {
    live: u32,
    behind: u32,
}

/// Looks it up and tells it.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let config = settings.load_for(args.data.as_deref())?;
    let hub = Reached::of(&config, false).await?;
    let answer = look_up(&hub, &args.which).await;
    hub.close().await;
    let answer = answer?;
    if args.json {
        return output::line(&answer.to_string());
    }
    let story: Story = serde_json::from_value(answer)
        .map_err(|error| anyhow!("the hub's answer cannot be read: {error}"))?;
    output::text(screen(&story).as_bytes())
}

async fn look_up(hub: &Reached, which: &str) -> anyhow::Result<Value> {
    match hub {
        Reached::Running(client) => {
            let path = ["notifications", which, "deliveries"];
            Ok(client.call(client.request(Method::GET, &path)).await?)
        }
        Reached::Stopped(opened) => {
            let query = LookupQuery {
                which: Which::parse(which),
                viewer: None,
            };
            match opened.store.lookup(query).await? {
                // As a running hub would answer.
                Lookup::Found(record) => {
                    let story = delivery::Story::whole(&record, &opened.log.epoch);
                    Ok(serde_json::to_value(story)?)
                }
                Lookup::Held(held) => Ok(serde_json::to_value(delivery::Story::held_whole(&held))?),
                Lookup::Pruned { id, created_at } => Err(anyhow!(
                    "it was notification {id}, accepted at {created_at}, and is not kept any more"
                )),
                Lookup::Unknown => Err(anyhow!("there is no such notification")),
            }
        }
    }
}

/// Everything on one screen: what it is, how it stands, and who did not get it first.
fn screen(story: &Story) -> String {
    let mut text = String::new();
    let public = |field: &str| story.notification.get(field).and_then(Value::as_str);
    let title = public("title").or(public("message")).unwrap_or_default();
    let name = story.reference.as_deref().unwrap_or("Notification");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name}: {}", shortened(title, 80));
    let _ = writeln!(
        text,
        "  id         {}  ({})",
        story.notification_id,
        story.event_id.as_deref().unwrap_or("not in the log yet")
    );
    let _ = writeln!(
        text,
        "  published  {} by {}",
        story.created_at, story.publisher
    );
    let about = [
        Some(story.kind.as_str()),
        public("severity"),
        public("module"),
        public("actionType"),
    ];
    let about: Vec<&str> = about.into_iter().flatten().collect();
    let _ = writeln!(text, "  about      {}", about.join(", "));
    if let Some(due) = &story.deliver_at {
        let _ = writeln!(text, "  due        {due}");
    }
    if let (Some(at), Some(by)) = (&story.cancelled_at, &story.cancelled_by) {
        let _ = writeln!(text, "  cancelled  {at} by {by}");
    } else if let Some(expires) = &story.expires_at {
        let _ = writeln!(text, "  expires    {expires}");
    }
    if story.deliveries.is_empty() {
        let _ = writeln!(text, "  status     {}", story.status);
        return text;
    }
    let _ = writeln!(text, "  status     {}\n", status(story));

    let mut rows: Vec<&Told> = story.deliveries.iter().collect();
    rows.sort_by_key(|told| rank(&told.outcome));
    let shown = &rows[..rows.len().min(SHOWN)];
    let names: Vec<String> = shown.iter().map(|told| recipient(told)).collect();
    let widest = names.iter().map(|name| name.chars().count()).max();
    let width = widest.unwrap_or_default().clamp(9, 32);
    let _ = writeln!(text, "{:width$}  {:10}  TRIES  WHY", "RECIPIENT", "OUTCOME");
    for (told, name) in shown.iter().zip(&names) {
        let _ = writeln!(
            text,
            "{:width$}  {:10}  {:>5}  {}",
            shortened(name, width),
            told.outcome,
            told.attempts,
            why(told)
        );
    }
    if rows.len() > SHOWN {
        let _ = writeln!(
            text,
            "… and {} more (--json has them all)",
            rows.len() - SHOWN
        );
    }
    text
}

fn status(story: &Story) -> String {
    let of = |outcome: Outcome| {
        let name = outcome.name();
        let count = story
            .deliveries
            .iter()
            .filter(|told| told.outcome == name)
            .count();
        (count > 0).then(|| format!("{count} {name}"))
    };
    let counts: Vec<String> = Outcome::ALL
        .into_iter()
        .filter_map(|(outcome, _)| of(outcome))
        .collect();
    let all = story.deliveries.len();
    let recipients = if all == 1 { "recipient" } else { "recipients" };
    format!(
        "{} ({all} {recipients}: {})",
        story.status,
        counts.join(", ")
    )
}

/// Who is of more interest comes first.
fn rank(outcome: &str) -> usize {
    let order = ["failed", "cancelled", "expired", "processing", "pending"];
    order
        .iter()
        .position(|known| *known == outcome)
        .unwrap_or(order.len())
}

fn recipient(told: &Told) -> String {
    match &told.recipient.id {
        Some(id) => format!("{} {id}", told.recipient.kind),
        None => told.recipient.kind.clone(),
    }
}

fn why(told: &Told) -> String {
    let mut why = told.reason.clone();
    if let Some(streams) = &told.streams {
        let _ = write!(
            why,
            " ({} at once, {} from the log)",
            streams.live, streams.behind
        );
    }
    if let Some(changed) = &told.changed_at {
        let _ = write!(why, ", {changed}");
    }
    if let Some(next) = &told.next_at {
        let _ = write!(why, ", next look {next}");
    }
    why
}
