//! `campanile inbox`: what a user finds when they come, the newest first, on one screen.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::anyhow;
use campanile::audience::identifier;
use campanile::clock::Timestamp;
use campanile::inbox::{Filter, InboxPage, MAX_FILTER, MAX_PAGE};
use campanile::log::Cursor;
use campanile::notification::{MAX_ROLES, Severity};
use campanile::store::{ListQuery, Viewer};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Usage;
use crate::logging::{self, LogFormat};
use crate::output::{self, shortened};
use crate::reach::Reached;
use crate::send::severity;
use crate::settings::Settings;

/// How much of a text stands in a table.
const TEXT_WIDTH: usize = 60;
/// The widest column of modules.
const MAX_MODULE_WIDTH: usize = 20;

/// Show a user's inbox as that user would see it.
///
/// Looking changes nothing: nothing is marked read. While a hub runs on the data directory it is asked, and its log tells
/// who looked; when none runs, its store is opened.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Whose inbox.
    #[arg(long, value_parser = identifier)]
    user: Arc<str>,
    /// A role of that user; may be given several times. What is for their roles is only seen with them.
    #[arg(long, value_parser = identifier)]
    role: Vec<Arc<str>>,
    /// Only what is not read.
    #[arg(long)]
    unread: bool,
    /// Only what is of this severity; may be given several times.
    #[arg(long, value_parser = severity)]
    severity: Vec<Severity>,
    /// Only what is from this module; may be given several times.
    #[arg(long, value_parser = identifier)]
    module: Vec<Arc<str>>,
    /// How many at most.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// The hub's data directory [default: ./campanile-data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  campanile inbox --user 42
  campanile inbox --user 42 --role ADMIN --unread
  campanile inbox --user 42 --json | jq -r '.notifications[] | select(.read | not) | .message'";

/// As a hub answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    notifications: Vec<Value>,
    unread: Value,
    next_cursor: Option<String>,
}

/// What a table tells of a notification.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    notification_id: String,
    created_at: String,
    read: bool,
    title: Option<String>,
    message: String,
    severity: String,
    module: Option<String>,
}

/// Lists it.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    for (flag, given, most) in [
        ("--role", args.role.len(), MAX_ROLES),
        ("--severity", args.severity.len(), MAX_FILTER),
        ("--module", args.module.len(), MAX_FILTER),
    ] {
        if given > most {
            return Err(Usage(format!("{flag}: at most {most} times")).into());
        }
    }
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let config = settings.load_for(args.data.as_deref())?;
    let hub = Reached::of(&config, false).await?;
    let listed = list(&hub, &args).await;
    hub.close().await;
    let listed = listed?;
    if args.json {
        let all = serde_json::json!({
            "notifications": listed.notifications, "unread": listed.unread, "nextCursor": listed.next_cursor
        });
        return output::line(&all.to_string());
    }
    output::text(table(&args.user, listed)?.as_bytes())
}

/// Page after page, until there are enough or there is no more.
async fn list(hub: &Reached, args: &Args) -> anyhow::Result<Listed> {
    let mut all: Option<Listed> = None;
    loop {
        let have = all.as_ref().map_or(0, |all| all.notifications.len());
        let missing = usize::from(args.limit) - have;
        let before = all.as_ref().and_then(|all| all.next_cursor.clone());
        let page = page(hub, args, before, missing.min(MAX_PAGE)).await?;
        let page: Listed = serde_json::from_value(page)
            .map_err(|error| anyhow!("the hub's answer cannot be read: {error}"))?;
        let listed = match all {
            None => page,
            // The count stays that of the first page: it is of the moment at which the listing began.
            Some(mut all) => {
                all.notifications.extend(page.notifications);
                all.next_cursor = page.next_cursor;
                all
            }
        };
        if listed.next_cursor.is_none() || listed.notifications.len() >= usize::from(args.limit) {
            return Ok(listed);
        }
        all = Some(listed);
    }
}

async fn page(
    hub: &Reached,
    args: &Args,
    before: Option<String>,
    limit: usize,
) -> anyhow::Result<Value> {
    match hub {
        Reached::Running(client) => {
            let limit = limit.to_string();
            let mut query = vec![("user", &*args.user), ("limit", &*limit)];
            query.extend(args.role.iter().map(|role| ("role", &**role)));
            query.extend(args.module.iter().map(|module| ("module", &**module)));
            query.extend(
                args.severity
                    .iter()
                    .map(|severity| ("severity", severity.name())),
            );
            query.extend(args.unread.then_some(("unread", "true")));
            query.extend(before.as_deref().map(|before| ("before", before)));
            let request = client.request_with(Method::GET, &["notifications"], &query);
            Ok(client.call(request).await?)
        }
        Reached::Stopped(opened) => {
            let epoch = &opened.log.epoch;
            let query = ListQuery {
                viewer: Viewer {
                    user: Arc::clone(&args.user),
                    roles: args.role.clone().into(),
                },
                filter: Filter {
                    unread: args.unread,
                    severities: args.severity.clone(),
                    modules: args.module.clone(),
                },
                before: before.and_then(|before| match epoch.locate(&before) {
                    Cursor::At(place) => Some(place),
                    Cursor::None | Cursor::Foreign => None,
                }),
                limit,
                now: Timestamp::now(),
            };
            let slice = opened.store.inbox(query).await?;
            Ok(serde_json::to_value(InboxPage::new(slice, epoch))?)
        }
    }
}

/// The count, and a line for each; a star stands before what is not read.
fn table(user: &str, listed: Listed) -> anyhow::Result<String> {
    let unread = match &listed.unread {
        Value::String(text) => text.clone(),
        number => number.to_string(),
    };
    let mut text = format!("{}: {unread} unread (*)\n", shortened(user, TEXT_WIDTH));
    let items: Result<Vec<Item>, _> = listed
        .notifications
        .into_iter()
        .map(serde_json::from_value)
        .collect();
    let items = items.map_err(|error| anyhow!("the hub's answer cannot be read: {error}"))?;
    if items.is_empty() {
        text.push_str("\nnothing there\n");
        return Ok(text);
    }
    let modules: Vec<String> = items
        .iter()
        .map(|item| shortened(item.module.as_deref().unwrap_or("-"), MAX_MODULE_WIDTH))
        .collect();
    let widest = modules.iter().map(|module| module.chars().count()).max();
    let width = widest.unwrap_or_default().max("MODULE".len());
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n  {:24}  {:8}  {:width$}  {:36}  WHAT",
        "CAME", "SEVERITY", "MODULE", "ID"
    );
    for (item, module) in items.iter().zip(&modules) {
        let _ = writeln!(
            text,
            "{} {:24}  {:8}  {module:width$}  {:36}  {}",
            if item.read { ' ' } else { '*' },
            item.created_at,
            item.severity,
            item.notification_id,
            shortened(item.title.as_deref().unwrap_or(&item.message), TEXT_WIDTH)
        );
    }
    if listed.next_cursor.is_some() {
        text.push_str("… and more (--limit)\n");
    }
    Ok(text)
}
