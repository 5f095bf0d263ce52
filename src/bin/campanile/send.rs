//! `campanile send`: publish one notification from a shell or a script.

use std::io::Read;
use std::sync::Arc;

use anyhow::Context;
use campanile::audience::identifier;
use campanile::auth::Scope;
use campanile::notification::{Draft, MAX_DRAFT_BYTES, Severity};
use campanile::reference::ReferenceDraft;
use campanile::throttle::ThrottleDraft;
use campanile::webhooks::Choice;
use clap::ArgGroup;
use reqwest::Method;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::Target;
use crate::exit::Usage;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// Publish a notification and print its id.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(group(ArgGroup::new("audience").required(true).multiple(true).args(["user", "role", "everyone", "broadcast"])))]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// A user it is for; may be given several times, and with --role.
    #[arg(long, value_parser = identifier)]
    user: Vec<Arc<str>>,
    /// A role it is for; may be given several times.
    #[arg(long, value_parser = identifier)]
    role: Vec<Arc<str>>,
    /// It is for everyone.
    #[arg(long, conflicts_with_all = ["user", "role"])]
    everyone: bool,
    /// The text; `-` reads it from standard input.
    #[arg(long, value_name = "TEXT")]
    message: String,
    /// A headline.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// More text.
    #[arg(long, value_name = "TEXT")]
    details: Option<String>,
    /// How urgent: low, medium, high, critical [default: medium].
    #[arg(long, value_parser = severity)]
    severity: Option<Severity>,
    /// The part of the application it comes from, such as orders.
    #[arg(long, value_name = "NAME")]
    module: Option<String>,
    /// What happened, such as new_order.
    #[arg(long, value_name = "NAME")]
    action_type: Option<String>,
    /// Where a click leads: http, https or relative.
    #[arg(long, value_name = "URL")]
    link: Option<String>,
    /// Anything else, as JSON; it is passed on as it is.
    #[arg(long, value_name = "JSON", value_parser = json)]
    data_json: Option<Box<RawValue>>,
    /// Held back until then, in RFC 3339; `campanile cancel` takes it back before.
    #[arg(long, value_name = "TIME", conflicts_with = "ephemeral")]
    deliver_at: Option<String>,
    /// When it lapses, in RFC 3339.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Asked for again under the same key it gets the same answer, and nothing is made twice.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// A number for people: `CNC:` draws the next (CNC-1126-0001), anything else is taken as it stands.
    #[arg(long, value_name = "PREFIX:|TEXT", value_parser = reference)]
    reference: Option<ReferenceDraft>,
    /// At most one in a window: ticket-768=24h.
    #[arg(long, value_name = "KEY=WINDOW", value_parser = throttle)]
    throttle: Option<ThrottleDraft>,
    /// When webhooks tell of it, in the place of what their endpoints say: undelivered, always or never.
    #[arg(long, value_parser = choice)]
    webhook: Option<Choice>,
    /// Not stored: at most once, to the streams that are live at this moment.
    #[arg(long, conflicts_with_all = ["idempotency_key", "reference", "throttle", "webhook"])]
    ephemeral: bool,
    /// Only for those who are there now, or come back within the hour: no inbox. For everyone unless --user or --role
    /// narrow it.
    #[arg(long)]
    broadcast: bool,
    /// Print the hub's whole answer as JSON instead of the id.
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  campanile send --user 42 --message 'Your order has shipped' --link /orders/123
  campanile send --role ADMIN --severity high --title 'Disk' --message 'Nearly full on db1'
  campanile send --role SALES --message 'New order' --reference CNC: --idempotency-key order-123 --json
  df -h | campanile send --role OPS --message - --throttle disk-db1=1h
  CAMPANILE_TOKEN=cmp_... campanile send --url https://hub.example.com --everyone --message 'Back at 9'";

/// Publishes it.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let client = args.target.client(settings, Scope::Publish)?;
    let (as_json, route): (bool, &[&str]) = match args.broadcast {
        true => (args.json, &["notifications", "broadcast"]),
        false => (args.json, &["notifications"]),
    };
    let draft = draft(args)?;
    let request = client.request(Method::POST, route).json(&draft);
    let answer = client.call(request).await?;
    if as_json {
        return output::line(&answer.to_string());
    }
    let is = |field: &str| answer.get(field).and_then(Value::as_bool) == Some(true);
    if is("duplicate") {
        output::words("nothing was made: this key has that answer already");
    } else if is("throttled") {
        output::words("nothing was made: the throttle holds it off; this is the one that went");
    }
    match answer.get("notificationId").and_then(Value::as_str) {
        Some(id) => output::line(id),
        None => Err(client.odd("its answer holds no notificationId").into()),
    }
}

fn draft(args: Args) -> anyhow::Result<Draft> {
    let message = match args.message.as_str() {
        "-" => standard_input()?,
        _ => args.message,
    };
    let names = |list: Vec<Arc<str>>| list.iter().map(ToString::to_string).collect();
    Ok(Draft {
        target_user_ids: names(args.user),
        target_roles: names(args.role),
        // A broadcast that names nobody is for everyone.
        everyone: args.everyone && !args.broadcast,
        message,
        title: args.title,
        details: args.details,
        severity: args.severity,
        module: args.module,
        action_type: args.action_type,
        link: args.link,
        data: args.data_json,
        deliver_at: args.deliver_at,
        expires_at: args.expires_at,
        idempotency_key: args.idempotency_key,
        reference: args.reference,
        throttle: args.throttle,
        webhook: args.webhook,
        ephemeral: args.ephemeral,
        ..Draft::default()
    })
}

/// All of it, less the line break that `echo` puts at the end.
fn standard_input() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_DRAFT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    if bytes.len() > MAX_DRAFT_BYTES {
        return Err(Usage(format!("standard input: more than {MAX_DRAFT_BYTES} bytes")).into());
    }
    let text = String::from_utf8(bytes);
    let mut text = text.map_err(|_| Usage("standard input: must be UTF-8".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

fn choice(text: &str) -> Result<Choice, &'static str> {
    Choice::named(text).ok_or("must be undelivered, always or never")
}

/// How urgent, by name.
pub(crate) fn severity(text: &str) -> Result<Severity, &'static str> {
    Severity::named(text).ok_or("must be low, medium, high or critical")
}

fn reference(text: &str) -> Result<ReferenceDraft, std::convert::Infallible> {
    Ok(match text.strip_suffix(':') {
        Some(prefix) => ReferenceDraft::Draw {
            prefix: prefix.to_owned(),
        },
        None => ReferenceDraft::Bring(text.to_owned()),
    })
}

fn throttle(text: &str) -> Result<ThrottleDraft, String> {
    let (key, window) = text
        .rsplit_once('=')
        .ok_or("must be a key and a window, such as ticket-768=24h")?;
    Ok(ThrottleDraft {
        key: key.to_owned(),
        window: window.to_owned(),
    })
}

fn json(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| format!("must be JSON: {error}"))
}
