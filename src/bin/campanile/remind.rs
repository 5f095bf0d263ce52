//! `campanile remind`: what is to be done by a time, and speaks up when it is not.

use std::sync::Arc;

use campanile::audience::identifier;
use campanile::auth::Scope;
use campanile::notification::Draft;
use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Client, Target};
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// Set, list and end reminders: what is overdue speaks up, until it is done.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

const AFTER_HELP: &str = "\
Examples:
  campanile remind set ticket-768 --due 2026-12-01T09:00:00Z --every 24h --role MAINTENANCE --message 'Ticket 768'
  campanile remind list --overdue
  campanile remind done ticket-768";

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a reminder, or change the one of this key.
    Set(Box<Set>),
    /// List them, everybody's; with a token or key of yours (--token), those that it may see.
    List {
        /// Those that are overdue.
        #[arg(long)]
        overdue: bool,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// It is done: the reminder is deleted.
    Done {
        /// The reminder's key.
        key: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    target: Target,
    /// Your own name for it.
    key: String,
    /// By when it is to be done, in RFC 3339.
    #[arg(long, value_name = "TIME")]
    due: String,
    /// How long after one the next may follow, such as 24h; without it there is one only.
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
    /// A user it is for; may be given several times, and with --role.
    #[arg(long, value_parser = identifier, required_unless_present = "role")]
    user: Vec<Arc<str>>,
    /// A role it is for; may be given several times.
    #[arg(long, value_parser = identifier)]
    role: Vec<Arc<str>>,
    /// The text. `{overdue}` in it, or in the title, becomes the time in words; else that is put behind it.
    #[arg(long, value_name = "TEXT")]
    message: String,
    /// A headline.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// The part of the application it comes from, such as orders.
    #[arg(long, value_name = "NAME")]
    module: Option<String>,
    /// Where a click leads: http, https or relative.
    #[arg(long, value_name = "URL")]
    link: Option<String>,
}

/// As the hub lists a reminder.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    key: String,
    publisher: String,
    due_at: String,
    overdue_text: Option<String>,
    next_at: Option<String>,
    sent: u64,
}

/// Asks the hub to.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    match args.action {
        Action::Set(set) => keep(*set, settings).await,
        Action::List {
            overdue,
            json,
            target,
        } => list(&target.client(settings, Scope::Admin)?, overdue, json).await,
        Action::Done { key, target } => {
            let client = target.client(settings, Scope::Publish)?;
            let request = client.request(Method::DELETE, &["reminders", &key]);
            client.call(request).await?;
            output::words("done");
            Ok(())
        }
    }
}

async fn keep(set: Set, settings: &Settings) -> anyhow::Result<()> {
    let client = set.target.client(settings, Scope::Publish)?;
    let names = |list: Vec<Arc<str>>| list.iter().map(ToString::to_string).collect();
    let draft = Draft {
        target_user_ids: names(set.user),
        target_roles: names(set.role),
        message: set.message,
        title: set.title,
        module: set.module,
        link: set.link,
        ..Draft::default()
    };
    let mut body = serde_json::to_value(draft)?;
    body["dueAt"] = json!(set.due);
    if let Some(every) = set.every {
        body["repeatEvery"] = json!(every);
    }
    let request = client.request(Method::PUT, &["reminders", &set.key]);
    let answer = client.call(request.json(&body)).await?;
    match answer.get("nextAt").and_then(Value::as_str) {
        Some(next) => output::words(&format!("it speaks up at {next}")),
        None => output::words("it has spoken up, and is not repeated"),
    }
    Ok(())
}

async fn list(client: &Client, overdue: bool, as_json: bool) -> anyhow::Result<()> {
    let mut all: Vec<Value> = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let overdue = if overdue { "true" } else { "false" };
        let query = [("limit", "1000"), ("after", &*after), ("overdue", overdue)];
        let request = client.request_with(Method::GET, &["reminders"], &query);
        let mut answer = client.call(request).await?;
        if let Some(Value::Array(page)) = answer.get_mut("reminders").map(Value::take) {
            all.extend(page);
        }
        match answer.get("nextCursor").and_then(Value::as_str) {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    if as_json {
        return output::line(&Value::from(all).to_string());
    }
    let mut text = format!(
        "{:24}  {:24}  {:18}  {:>4}  {:24}  PUBLISHER\n",
        "KEY", "DUE", "OVERDUE", "SENT", "NEXT"
    );
    for reminder in all {
        let Listed {
            key,
            publisher,
            due_at,
            overdue_text,
            next_at,
            sent,
        } = serde_json::from_value(reminder)
            .map_err(|_| client.odd("it lists something that is no reminder"))?;
        let overdue = overdue_text.unwrap_or_else(|| "-".to_owned());
        let next = next_at.unwrap_or_else(|| "-".to_owned());
        text.push_str(&format!(
            "{key:24}  {due_at:24}  {overdue:18}  {sent:>4}  {next:24}  {publisher}\n"
        ));
    }
    output::text(text.as_bytes())
}
