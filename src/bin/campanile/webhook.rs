//! `campanile webhook`: the endpoints that webhooks go to, asked of the hub that runs. Without one nothing would be sent, so
//! the store is not opened here.

use anyhow::Context;
use campanile::auth::Scope;
use campanile::notification::Severity;
use campanile::webhooks::On;
use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::client::{Client, Target};
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// How much of an error a table shows, in characters.
const MAX_ERROR_CHARS: usize = 60;

/// Make, list, try out and delete the endpoints of webhooks, and see what became of what was sent there.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

const AFTER_HELP: &str = "\
Examples:
  campanile webhook add https://example.com/hook > hook.secret      what nobody took
  campanile webhook add https://example.com/hook --on always --module orders --severity high
  campanile webhook list
  campanile webhook test 01a1fbb9-2f0c-7b51-9d5e-0c7f3a1b2c3d
  campanile webhook history 01a1fbb9-2f0c-7b51-9d5e-0c7f3a1b2c3d --status failed
  campanile webhook redeliver 01a1fbb9-2f0c-7b51-9d5e-0c7f3a1b2c3d --since 24h";

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an endpoint and print its secret: this once.
    Add {
        /// Where webhooks go.
        #[arg(value_name = "URL")]
        receiver: String,
        /// When: undelivered or always.
        #[arg(long, default_value = "undelivered", value_parser = word::<On>)]
        on: On,
        /// Only what is addressed to this role; may be given several times.
        #[arg(long)]
        role: Vec<String>,
        /// Only what is from this module; may be given several times.
        #[arg(long)]
        module: Vec<String>,
        /// Only what is of this severity; may be given several times.
        #[arg(long, value_parser = word::<Severity>)]
        severity: Vec<Severity>,
        #[command(flatten)]
        target: Target,
    },
    /// List the endpoints.
    List {
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Send a test to an endpoint, and say what came of it.
    Test {
        /// The endpoint.
        id: String,
        #[command(flatten)]
        target: Target,
    },
    /// Say what became of the webhooks of an endpoint, the latest first.
    History {
        /// The endpoint.
        id: String,
        /// Only those that stand so: waiting, sending, sent or failed.
        #[arg(long)]
        status: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: u16,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Send again: one webhook, or, with --since, all of an endpoint that have failed.
    Redeliver {
        /// The webhook; or the endpoint.
        id: String,
        /// A time, or how long ago, such as 24h.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Draw a new secret and print it. The one before signs as well for another 24 h.
    Rotate {
        /// The endpoint.
        id: String,
        #[command(flatten)]
        target: Target,
    },
    /// Enable an endpoint that was disabled.
    Enable {
        /// The endpoint.
        id: String,
        #[command(flatten)]
        target: Target,
    },
    /// Delete an endpoint.
    Remove {
        /// The endpoint.
        id: String,
        #[command(flatten)]
        target: Target,
    },
}

/// Asks the hub.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let client = |target: &Target| target.client(settings, Scope::Admin);
    match args.action {
        Action::Add {
            receiver,
            on,
            role,
            module,
            severity,
            target,
        } => {
            let body = json!({
                "url": receiver, "on": on, "roles": role, "modules": module, "severities": severity
            });
            let hub = client(&target)?;
            let made = post(&hub, &["webhooks"], Some(body)).await?;
            output::words(&format!("endpoint {}", text(&made, "id")));
            secret(&hub, &made)
        }
        Action::List { json, target } => {
            let hub = client(&target)?;
            let request = hub.request(Method::GET, &["webhooks"]);
            let answer = hub.call(request).await?;
            if json {
                return output::line(&answer.to_string());
            }
            let Endpoints { endpoints } = read(&hub, answer)?;
            output::text(listed(&endpoints).as_bytes())
        }
        Action::Test { id, target } => {
            let hub = client(&target)?;
            let webhook = post(&hub, &["webhooks", &id, "test"], None).await?;
            let webhook: Webhook = read(&hub, webhook)?;
            match (&*webhook.status, &webhook.error) {
                ("sent", _) => {
                    let status = webhook.answer_status.unwrap_or_default();
                    output::words(&format!("it arrived, and was answered {status}"));
                    Ok(())
                }
                (_, Some(error)) => Err(anyhow::anyhow!("it did not come through: {error}")),
                (status, None) => Err(anyhow::anyhow!("it has not come through yet: {status}")),
            }
        }
        Action::History {
            id,
            status,
            limit,
            json,
            target,
        } => {
            let hub = client(&target)?;
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(status.as_deref().map(|status| ("status", status)));
            let path = ["webhooks", &id, "deliveries"];
            let request = hub.request_with(Method::GET, &path, &query);
            let answer = hub.call(request).await?;
            if json {
                return output::line(&answer.to_string());
            }
            let History { deliveries } = read(&hub, answer)?;
            output::text(history(&deliveries).as_bytes())
        }
        Action::Redeliver { id, since, target } => {
            let hub = client(&target)?;
            let answer = match since {
                Some(since) => {
                    let body = json!({ "since": since });
                    post(&hub, &["webhooks", &id, "redeliver"], Some(body)).await?
                }
                None => post(&hub, &["webhooks", "deliveries", &id, "redeliver"], None).await?,
            };
            let n = answer.get("redelivered").and_then(Value::as_u64);
            let more = answer.get("more").and_then(Value::as_bool);
            let rest = match more {
                Some(true) => "; there are more: ask again once these are sent",
                _ => "",
            };
            output::words(&format!("{} to be sent again{rest}", n.unwrap_or_default()));
            Ok(())
        }
        Action::Rotate { id, target } => {
            let hub = client(&target)?;
            let rotated = post(&hub, &["webhooks", &id, "rotate"], None).await?;
            secret(&hub, &rotated)
        }
        Action::Enable { id, target } => {
            let hub = client(&target)?;
            let request = hub.request(Method::PATCH, &["webhooks", &id]);
            hub.call(request.json(&json!({"enabled": true}))).await?;
            output::words(&format!("{id} is enabled"));
            Ok(())
        }
        Action::Remove { id, target } => {
            let hub = client(&target)?;
            let request = hub.request(Method::DELETE, &["webhooks", &id]);
            hub.call(request).await?;
            output::words(&format!("{id} is deleted"));
            Ok(())
        }
    }
}

async fn post(hub: &Client, path: &[&str], body: Option<Value>) -> anyhow::Result<Value> {
    let request = hub.request(Method::POST, path);
    let request = match &body {
        Some(body) => request.json(body),
        None => request,
    };
    Ok(hub.call(request).await?)
}

/// Prints the secret in an answer, alone.
fn secret(hub: &Client, answer: &Value) -> anyhow::Result<()> {
    let secret = answer.get("secret").and_then(Value::as_str);
    output::line(secret.ok_or_else(|| hub.odd("its answer holds no secret"))?)
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer.get(field).and_then(Value::as_str).unwrap_or("?")
}

fn read<T: DeserializeOwned>(hub: &Client, answer: Value) -> anyhow::Result<T> {
    serde_json::from_value(answer)
        .map_err(|_| hub.odd("its answer is not about webhooks"))
        .context("cannot tell what it said")
}

/// A word as the hub spells it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| error.to_string())
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    endpoints: Vec<Endpoint>,
}

/// An endpoint, as far as a table tells of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    id: String,
    url: String,
    on: String,
    enabled: bool,
    disabled_by: Option<String>,
    failing_since: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct History {
    deliveries: Vec<Webhook>,
}

/// A webhook, as far as a table tells of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    id: String,
    notification_id: Option<String>,
    status: String,
    attempts: u32,
    created_at: String,
    answer_status: Option<u16>,
    error: Option<String>,
}

/// Each endpoint with its filter and how it stands.
fn listed(endpoints: &[Endpoint]) -> String {
    let mut lines = format!("{:36}  {:11}  {:28}  URL\n", "ID", "ON", "STATE");
    for endpoint in endpoints {
        let state = match (
            endpoint.enabled,
            &endpoint.disabled_by,
            &endpoint.failing_since,
        ) {
            (false, Some(by), _) => format!("disabled ({by})"),
            (false, None, _) => "disabled".to_owned(),
            (true, _, Some(since)) => {
                format!("failing {}", since.get(..19).unwrap_or(since))
            }
            (true, _, None) => "enabled".to_owned(),
        };
        lines.push_str(&format!(
            "{:36}  {:11}  {:28}  {}{}\n",
            endpoint.id,
            endpoint.on,
            state,
            endpoint.url,
            filter(&endpoint.more)
        ));
    }
    lines
}

/// What is let through, in brackets; nothing if that is everything.
fn filter(fields: &Map<String, Value>) -> String {
    let lists = ["roles", "modules", "severities"].into_iter();
    let named: Vec<String> = lists
        .filter_map(|field| {
            let words = fields.get(field)?.as_array()?.iter();
            let words: Vec<&str> = words.filter_map(Value::as_str).collect();
            (!words.is_empty()).then(|| format!("{field} {}", words.join(", ")))
        })
        .collect();
    if named.is_empty() {
        String::new()
    } else {
        format!("  ({})", named.join("; "))
    }
}

/// Each webhook and what became of it.
fn history(webhooks: &[Webhook]) -> String {
    let mut lines = format!(
        "{:36}  {:36}  {:24}  {:7}  {:5}  ANSWER\n",
        "WEBHOOK", "NOTIFICATION", "MADE", "STATUS", "TRIES"
    );
    for webhook in webhooks {
        let answer = match (&webhook.error, webhook.answer_status) {
            (Some(error), _) => error.chars().take(MAX_ERROR_CHARS).collect(),
            (None, Some(status)) => status.to_string(),
            (None, None) => "-".to_owned(),
        };
        lines.push_str(&format!(
            "{:36}  {:36}  {:24}  {:7}  {:5}  {answer}\n",
            webhook.id,
            webhook.notification_id.as_deref().unwrap_or("a test"),
            webhook.created_at,
            webhook.status,
            webhook.attempts,
        ));
    }
    lines
}
