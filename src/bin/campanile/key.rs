//! `campanile key`: the API keys of programs that publish. A running hub has them in memory, and so must be asked; when
//! none runs, they are in its store.

use std::sync::Arc;

use anyhow::anyhow;
use campanile::audience::identifier;
use campanile::auth::{Scope, Scopes, StoredKey, new_key};
use campanile::clock::Timestamp;
use clap::Subcommand;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::logging::{self, LogFormat};
use crate::output;
use crate::reach::Reached;
use crate::settings::Settings;

/// Make, list and revoke the API keys of programs that publish.
///
/// While a hub runs on the data directory it is asked; when none runs, its store is opened.
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
  campanile key create --name billing --scope publish
  campanile key list
  campanile key revoke --name billing
  campanile key create --data /var/lib/campanile --name deploy --scope admin > deploy.key";

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it: this once, it is stored as a hash only.
    Create {
        /// What the key is called; no two share a name, revoked ones neither.
        #[arg(long, value_parser = key_name)]
        name: Arc<str>,
        /// What it allows: publish, admin; may be given several times.
        #[arg(long, required = true)]
        scope: Vec<Scope>,
    },
    /// List the keys, revoked ones too.
    List {
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Take a key back, at once and for good.
    Revoke {
        /// What the key is called.
        #[arg(long, value_parser = key_name)]
        name: Arc<str>,
    },
}

/// As the hub lists a key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    name: String,
    scopes: Vec<Scope>,
    created_at: Value,
    revoked_at: Option<Value>,
}

/// Does it, over HTTP or in the store.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let config = settings.load_for(args.data.as_deref())?;
    let makes = matches!(args.action, Action::Create { .. });
    let hub = Reached::of(&config, makes).await?;
    let outcome = match args.action {
        Action::Create { name, scope } => create(&hub, name, scope.into_iter().collect()).await,
        Action::List { json } => list(&hub, json).await,
        Action::Revoke { name } => revoke(&hub, &name).await,
    };
    hub.close().await;
    outcome
}

async fn create(hub: &Reached, name: Arc<str>, scopes: Scopes) -> anyhow::Result<()> {
    let key = match hub {
        Reached::Running(client) => {
            let body = json!({"name": name, "scopes": scopes.list()});
            let request = client.request(Method::POST, &["keys"]).json(&body);
            let answer = client.call(request).await?;
            let key = answer.get("key").and_then(Value::as_str);
            key.ok_or_else(|| client.odd("its answer holds no key"))?
                .to_owned()
        }
        Reached::Stopped(opened) => {
            let (key, stored) = new_key(name, scopes, Timestamp::now());
            opened.store.insert_key(stored).await?;
            key
        }
    };
    output::line(&key)
}

async fn list(hub: &Reached, as_json: bool) -> anyhow::Result<()> {
    let listed: Vec<Listed> = match hub {
        Reached::Running(client) => {
            let answer = client.call(client.request(Method::GET, &["keys"])).await?;
            let list = answer.get("keys").cloned().unwrap_or_default();
            serde_json::from_value(list).map_err(|_| client.odd("its answer is no list of keys"))?
        }
        Reached::Stopped(opened) => opened
            .store
            .keys()
            .await?
            .into_iter()
            .map(Listed::from)
            .collect(),
    };
    if as_json {
        return output::line(&json!({ "keys": listed }).to_string());
    }
    output::text(table(&listed).as_bytes())
}

async fn revoke(hub: &Reached, name: &str) -> anyhow::Result<()> {
    match hub {
        Reached::Running(client) => {
            let request = client.request(Method::DELETE, &["keys", name]);
            client.call(request).await?;
        }
        Reached::Stopped(opened) => {
            if !opened
                .store
                .revoke_key(name.to_owned(), Timestamp::now())
                .await?
            {
                return Err(anyhow!("there is no key {name:?} that is not revoked"));
            }
        }
    }
    output::words(&format!("{name} is revoked"));
    Ok(())
}

impl From<StoredKey> for Listed {
    fn from(key: StoredKey) -> Self {
        Self {
            name: key.name.to_string(),
            scopes: key.scopes.list(),
            created_at: key.created_at.to_string().into(),
            revoked_at: key.revoked_at.map(|moment| moment.to_string().into()),
        }
    }
}

/// Name, scopes, made, revoked; the names' column as wide as its longest.
fn table(keys: &[Listed]) -> String {
    let names = keys.iter().map(|key| key.name.chars().count());
    let width = names.max().unwrap_or_default().max(4);
    let mut lines = format!(
        "{:width$}  {:13}  {:24}  REVOKED\n",
        "NAME", "SCOPES", "CREATED"
    );
    for key in keys {
        let scopes: Vec<String> = key.scopes.iter().map(Scope::to_string).collect();
        let moment = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "-".to_owned(),
        };
        lines.push_str(&format!(
            "{:width$}  {:13}  {:24}  {}\n",
            key.name,
            scopes.join(" "),
            moment(Some(&key.created_at)),
            moment(key.revoked_at.as_ref()),
        ));
    }
    lines
}

/// A name that can also stand in a path: `DELETE /keys/..` would be another route.
fn key_name(text: &str) -> Result<Arc<str>, String> {
    match identifier(text) {
        Ok(name) if matches!(&*name, "." | "..") => Err("must not be . or ..".to_owned()),
        Ok(name) => Ok(name),
        Err(error) => Err(error.to_string()),
    }
}
