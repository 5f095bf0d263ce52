//! `campanile listen`: follow a stream from a shell or a script, for as long as it takes.
//!
//! It never gives up but on 401 and 403: a hub that is restarted, a proxy that answers 502 for a while or a network
//! that is gone only cost time. Each reconnect resumes after the last id, so nothing is missed in between, and the
//! waits are spread out, so that many listeners do not come back at one instant.

mod backoff;
mod recent;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use campanile::audience::identifier;
use campanile::auth::{Authenticator, Mint, Scopes};
use campanile::clock::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::backoff::Backoff;
use self::recent::Recent;
use crate::client::{CallError, Client, Place, Target};
use crate::events::{Event, Parser};
use crate::exit::Usage;
use crate::logging::{self, LogFormat};
use crate::output;
use crate::settings::Settings;

/// How long a token lives that is minted for a stream: as long as a hub lets one live by default. Each connection gets
/// a fresh one.
const STREAM_TTL: Duration = Duration::from_hours(1);

/// How often a hub shows that it is alive, until its `connected` says otherwise.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);

/// The slowest heartbeat that is believed; the configuration allows none slower.
const MAX_HEARTBEAT: Duration = Duration::from_mins(5);

/// What a heartbeat may be late before the connection counts as dead.
const HEARTBEAT_SLACK: Duration = Duration::from_secs(5);

/// Follow a stream and print its notifications, a JSON line each.
///
/// It reconnects by itself for ever, resuming where it was, and ends only when the hub refuses the credentials (exit
/// status 5) or after --count notifications.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// The user to listen as, with a token signed with the hub's secret.
    #[arg(long, value_parser = identifier, conflicts_with = "token")]
    user: Option<Arc<str>>,
    /// A role of that user; may be given several times.
    #[arg(long, value_parser = identifier, requires = "user")]
    role: Vec<Arc<str>>,
    /// Begin after this event: the `eventId` of a line printed earlier.
    #[arg(long, value_name = "ID", value_parser = event_id)]
    last_event_id: Option<String>,
    /// End after this many lines.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print every event, heartbeats too, and not only notifications.
    #[arg(long)]
    all: bool,
}

const AFTER_HELP: &str = "\
Examples:
  campanile listen --user 42
  campanile listen --user 7 --role ADMIN | jq -r .data.message
  campanile listen --user 42 --count 1             wait for one notification (what arrived with it is not kept:
                                                   go on with --last-event-id and its eventId)
  CAMPANILE_TOKEN=... campanile listen --url https://hub.example.com --last-event-id k3f9a0zz-1042";

/// Follows the stream until it has printed enough, or is refused.
pub(crate) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    logging::start(settings.environment(), LogFormat::Text, "warn")?;
    let credentials = Credentials::find(&args, settings)?;
    let place = args.target.place(settings)?;
    let mut listener = Listener {
        all: args.all,
        left: args.count,
        last_event_id: args.last_event_id,
        recent: Recent::default(),
        backoff: Backoff::default(),
    };
    loop {
        let client = credentials.client(place.clone())?;
        match listener.connection(&client).await {
            Ok(ControlFlow::Break(())) => return Ok(()),
            Ok(ControlFlow::Continue(())) => {}
            Err(error) => match error.downcast::<CallError>() {
                Ok(refused) if is_final(&refused) => return Err(refused.into()),
                Ok(error) => output::words(&format!("campanile: {error}")),
                Err(error) => return Err(error),
            },
        }
        let wait = listener.backoff.next(random());
        output::words(&format!("reconnecting in {} ms", wait.as_millis()));
        tokio::time::sleep(wait).await;
    }
}

/// Whether trying again is pointless.
fn is_final(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Refused {
            status: 401 | 403,
            ..
        }
    )
}

/// A token that was given, or what makes a fresh one for each connection.
enum Credentials {
    Given(String),
    Own {
        authenticator: Box<Authenticator>,
        user: Arc<str>,
        roles: Vec<Arc<str>>,
    },
}

impl Credentials {
    fn find(args: &Args, settings: &Settings) -> anyhow::Result<Self> {
        // Whoever names a user means that user, whatever token the environment happens to hold.
        if let Some(user) = &args.user {
            return Ok(Self::Own {
                authenticator: Box::new(args.target.own_secret(settings)?),
                user: Arc::clone(user),
                roles: args.role.clone(),
            });
        }
        let token = args.target.given_token(settings)?;
        let usage =
            "as whom? --user with the data directory of the hub, or --token, or CAMPANILE_TOKEN";
        Ok(Self::Given(token.ok_or_else(|| Usage(usage.to_owned()))?))
    }

    fn client(&self, place: Place) -> anyhow::Result<Client> {
        match self {
            Self::Given(token) => Client::new(place, token),
            Self::Own {
                authenticator,
                user,
                roles,
            } => {
                let mint = Mint {
                    user: user.to_string(),
                    roles: roles.iter().map(ToString::to_string).collect(),
                    scopes: Scopes::default(),
                    ttl: STREAM_TTL,
                };
                Client::new(place, &authenticator.mint(mint, Timestamp::now()))
            }
        }
    }
}

/// What outlives a connection.
struct Listener {
    all: bool,
    /// Lines still to print, if there is an end to them.
    left: Option<u64>,
    last_event_id: Option<String>,
    recent: Recent,
    backoff: Backoff,
}

/// What the listener itself reads of an event's data; the rest is passed on unread.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Envelope {
    notification_id: Option<String>,
    data: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    heartbeat_seconds: Option<u64>,
    reason: Option<String>,
}

impl Listener {
    /// One connection from its request to its end. `Break` when enough was printed.
    async fn connection(&mut self, client: &Client) -> anyhow::Result<ControlFlow<()>> {
        let path = ["notifications", "stream"];
        let mut request = client
            .request(Method::GET, &path)
            .header(ACCEPT, "text/event-stream");
        // An id that cannot stand in a header cannot be brought back; beginning at the user's mark is the next best.
        let cursor = self.last_event_id.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(cursor)) = cursor {
            request = request.header("last-event-id", cursor);
        }
        let response = client.send(request).await?;
        self.backoff.asked_to_wait(retry_after(&response));
        if response.status() != StatusCode::OK {
            return Err(client.refusal(response).await.into());
        }
        if !is_event_stream(&response) {
            return Err(client.odd("its answer is no event stream").into());
        }
        self.follow(client, response).await
    }

    async fn follow(
        &mut self,
        client: &Client,
        mut response: Response,
    ) -> anyhow::Result<ControlFlow<()>> {
        let mut parser = Parser::default();
        let mut heartbeat = DEFAULT_HEARTBEAT;
        loop {
            let patience = 2 * heartbeat + HEARTBEAT_SLACK;
            let bytes = match tokio::time::timeout(patience, response.chunk()).await {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => return Ok(ControlFlow::Continue(())),
                Ok(Err(error)) => return Err(client.unreachable(error).into()),
                Err(_) => return Err(client.odd("it has fallen silent").into()),
            };
            let events = parser.push(&bytes);
            let events = events.map_err(|error| client.odd(&error.to_string()))?;
            self.backoff.retry(parser.retry());
            for event in events {
                let envelope = serde_json::from_str(&event.data).unwrap_or_default();
                if let (Some(beat), "connected") = (heartbeat_of(&envelope), event.name.as_str()) {
                    heartbeat = beat;
                }
                if self.take(&event, &envelope)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            // Only now: an id stands for what has been printed, not for what was about to be.
            if let Some(id) = parser.last_event_id() {
                self.last_event_id = Some(id.to_owned());
            }
        }
    }

    /// Prints an event if it is one to print. `Break` when that was the last one wanted.
    fn take(&mut self, event: &Event, envelope: &Envelope) -> anyhow::Result<ControlFlow<()>> {
        match event.name.as_str() {
            "connected" => self.backoff.succeeded(),
            "gap" => output::words("gap: part of what was missed is not sent again"),
            "bye" => {
                let reason = envelope.data.reason.as_deref().unwrap_or("no reason given");
                output::words(&format!("bye: {}", reason.replace(char::is_control, " ")));
            }
            _ => {}
        }
        // A hub may send what is still owed once more after a reconnect.
        let id = envelope.notification_id.as_deref();
        let is_notification = event.name == "notification";
        let is_repeated = is_notification && id.is_some_and(|id| !self.recent.insert(id));
        if is_repeated || !(is_notification || self.all) {
            return Ok(ControlFlow::Continue(()));
        }
        let Some(line) = in_one_line(event) else {
            output::words("an event whose data is no JSON object is left out");
            return Ok(ControlFlow::Continue(()));
        };
        output::line(&line)?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(match self.left {
            Some(0) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    }
}

/// The event's data as it came, with its id put in front; none if it is no JSON object.
fn in_one_line(event: &Event) -> Option<String> {
    let object: &RawValue = serde_json::from_str(&event.data).ok()?;
    // White space between tokens may hold line breaks, and JSON has none within them.
    let object = object.get().replace(['\n', '\r'], " ");
    let members = object.strip_prefix('{')?;
    let Some(id) = &event.id else {
        return Some(object);
    };
    let id = serde_json::Value::from(id.as_str());
    let comma = if members.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    Some(format!("{{\"eventId\":{id}{comma}{members}"))
}

fn heartbeat_of(envelope: &Envelope) -> Option<Duration> {
    let heartbeat = Duration::from_secs(envelope.data.heartbeat_seconds?);
    Some(heartbeat.clamp(Duration::from_secs(1), MAX_HEARTBEAT))
}

fn is_event_stream(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    essence.is_some_and(|value| value.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// `Retry-After` in seconds; the other form, a date, is not what hubs send.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(value.trim().parse().ok()?))
}

/// From 0 to 1, evenly: 32 random bits of a UUID.
fn random() -> f64 {
    let (bits, _, _, _) = uuid::Uuid::new_v4().as_fields();
    f64::from(bits) / f64::from(u32::MAX)
}

fn event_id(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("must be an event id such as k3f9a0zz-1042".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: Option<&str>, data: &str, expected: Option<&str>) {
        let event = Event {
            name: "notification".to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        };
        assert_eq!(in_one_line(&event).as_deref(), expected);
    }

    #[test]
    fn a_line_is_what_the_hub_sent_with_the_id_in_front() {
        let exact = "{\"b\":1.50,\"a\":\"\\u2028\",\"n\":12345678901234567890123}";
        check(None, exact, Some(exact));
        check(
            Some("e-1"),
            "{\"b\":1.50}",
            Some("{\"eventId\":\"e-1\",\"b\":1.50}"),
        );
        check(Some("e-1"), "{ }", Some("{\"eventId\":\"e-1\" }"));
        check(
            Some("\"-1"),
            "{\n\"b\":1\n}",
            Some("{\"eventId\":\"\\\"-1\", \"b\":1 }"),
        );
        check(Some("e-1"), "[1]", None);
        check(Some("e-1"), "{\"b\":", None);
    }
}
