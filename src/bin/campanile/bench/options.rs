//! The options, and what can be wrong with them.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::marks::MAX_PUBLISHERS;
use super::schedule::{Pace, Publishing};
use crate::exit::Usage;

/// What the streams and the publishers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// Each notification is for everyone
    Broadcast,
    /// Each stream has one of --roles roles, and each notification is for the next of them
    Role,
    /// Each stream is a user, and each notification is for the next of them
    User,
    /// All streams sign in at once: how long until all are open
    Connect,
    /// All streams come back at once, each with --missed notifications to come
    Resume,
}

/// Measure how much a hub on this machine carries.
///
/// Starts a hub with the defaults and a store of its own in a temporary directory, on one core, and puts the load on it
/// from another; both are gone when it ends. Without --rate it publishes as fast as the hub delivers. Ends with exit
/// status 1 if anything was lost, doubled, out of order or refused, or a stream was closed.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// What is measured.
    #[arg(value_name = "WORK")]
    pub(super) work: Work,
    /// How many streams.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) streams: u32,
    /// So many notifications a second, whatever comes back; latency counts from when each was due.
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(super) rate: Option<f64>,
    /// Without --rate: publish while fewer requests' worth of deliveries than this are outstanding.
    #[arg(long, value_name = "W", default_value_t = 4, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) window: u32,
    /// Connections that publish, with one request in flight on each [default: 1, resume 32].
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u16).range(1..=MAX_PUBLISHERS as i64))]
    publishers: Option<u16>,
    /// Notifications in a request; more than one go through POST /notifications/batch.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) batch: u16,
    /// Characters in each text beside its mark.
    #[arg(long, value_name = "BYTES", default_value_t = 150, value_parser = clap::value_parser!(u16).range(..=4_000))]
    pub(super) pad: u16,
    /// role: how many roles there are.
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) roles: u32,
    /// resume: what each stream has missed.
    #[arg(long, value_name = "M", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=90_000))]
    pub(super) missed: u32,
    /// How long is measured.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    pub(super) seconds: Duration,
    /// How long it publishes before that.
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds_or_none)]
    pub(super) warmup: Duration,
    /// How long the streams are left alone once they are open, before the server's memory is looked at.
    #[arg(long, value_name = "S", default_value = "0.3", value_parser = seconds_or_none)]
    pub(super) idle: Duration,
    /// How long nothing may come, at the end, until the rest counts as lost.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    pub(super) settle: Duration,
    /// Where the temporary directory is made [default: where the system has them].
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) running: RunningArgs,
    // Last, because its heading stands over all that follows.
    #[command(flatten)]
    pub(super) other: OtherArgs,
}

const AFTER_HELP: &str = "\
To size a machine:
  First ask for the most: without --rate, with as many --streams as you will have, and --publishers 4 --window 16 so that \
there is always something to do. Then ask with --rate for what you expect: its latency is what your users would see. Leave \
room beside the server's CPU and memory for whatever else the machine does. Where the load's CPU is near a whole core, the server may carry \
more than is told.

What is told:
  Latency is from the publish, or with --rate from when it was due, until a stream has read the last byte. Answers are how \
long a publisher waits for its own: a hub's comes when the notification is durable.

Other servers:
  Any server with event streams can be measured on the same work. Templates say what it is asked; in braces, i is the \
stream's number (of a message: its number modulo --streams), n the message's number, pad the --pad characters, and mark \
what each message has to hold: the streams' bytes are searched for it, whatever is around it.

Examples:
  campanile bench broadcast
  campanile bench broadcast --rate 100
  campanile bench broadcast --publishers 4 --window 16 --seconds 20
  campanile bench user --streams 10000 --publishers 64 --window 64
  campanile bench connect --streams 10000
  campanile bench resume --streams 10000 --missed 100
  campanile bench broadcast --data /var/lib/campanile --pid $(pidof campanile) --json
  campanile bench broadcast --port 3000 --stream-path /events --publish-path /say --publish-body '{\"text\":\"{mark}{pad}\"}'
  campanile bench user --port 3000 --stream-path '/events?user={i}' --publish-path '/say?user={i}'";

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "A hub that runs already (instead of one of its own)")]
pub(crate) struct RunningArgs {
    /// Its address, with http. What is published reaches whoever else is connected, and the inboxes of those it is for.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// Its data directory: each stream is a user, with a token signed with the secret there.
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<String>,
    /// A token that may listen and publish, for all streams: they are one user's, of whom a hub takes 20 (stream.per_user).
    #[arg(long, value_name = "TOKEN", conflicts_with = "data")]
    pub(super) token: Option<String>,
    /// Its process, whose CPU time and memory are told; several with commas. Not given, neither is told.
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) pid: Vec<u32>,
}

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Other servers")]
pub(crate) struct OtherArgs {
    /// Any server with event streams, on this port of 127.0.0.1; --url says another place.
    #[arg(long, value_name = "P", conflicts_with = "url", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// The path of a stream.
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub(super) stream_path: Option<String>,
    /// A header with it; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(super) stream_header: Vec<String>,
    /// The path to publish at.
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub(super) publish_path: Option<String>,
    /// The method [default: POST].
    #[arg(long, value_name = "METHOD", value_parser = method)]
    pub(super) publish_method: Option<String>,
    /// The body [default: {mark}{pad}].
    #[arg(long, value_name = "TEXT")]
    pub(super) publish_body: Option<String>,
    /// A header with it; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(super) publish_header: Vec<String>,
    /// The port to publish at, if it is another.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) publish_port: Option<u16>,
    /// How many streams get each message [default: broadcast all, user 1].
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) per: Option<u64>,
}

impl OtherArgs {
    /// Whether any was given.
    pub(super) fn are_given(&self) -> bool {
        self.port.is_some()
            || self.stream_path.is_some()
            || !self.stream_header.is_empty()
            || self.publish_path.is_some()
            || self.publish_method.is_some()
            || self.publish_body.is_some()
            || !self.publish_header.is_empty()
            || self.publish_port.is_some()
            || self.per.is_some()
    }
}

impl Args {
    /// Whether it starts a hub of its own.
    pub(super) fn own_hub(&self) -> bool {
        !self.other.are_given() && self.running.url.is_none() && self.running.data.is_none()
    }

    pub(super) fn publishers(&self) -> usize {
        let default = if self.work == Work::Resume {
            LIVE_PUBLISHERS
        } else {
            1
        };
        self.publishers.unwrap_or(default).into()
    }

    pub(super) fn publishing(&self) -> Publishing {
        let pace = match (self.rate, self.work) {
            (Some(per_second), _) => Pace::Rated { per_second },
            (None, Work::Resume) => Pace::Rated {
                per_second: LIVE_RATE,
            },
            (None, _) => Pace::Saturated {
                window: self.window.into(),
            },
        };
        Publishing {
            pace,
            batch: self.batch.into(),
        }
    }

    /// What no single option can see.
    pub(super) fn check(&self) -> Result<(), Usage> {
        let problem = |text: &str| Err(Usage(text.to_owned()));
        let (running, other) = (&self.running, &self.other);
        if self.own_hub() {
            if running.token.is_some() || !running.pid.is_empty() {
                return problem(
                    "--token and --pid are about a hub that runs already: say which with --url or --data",
                );
            }
        } else if self.dir.is_some() {
            return problem(
                "--dir is where a hub of its own would have its store, and none is started",
            );
        }
        if self.work == Work::Role && self.roles > self.streams {
            return problem("--roles: there are no more roles than streams");
        }
        if self.work == Work::Resume && self.batch > 1 {
            return problem("--batch: the live notifications of resume are published one by one");
        }
        if !other.are_given() {
            let needs_users = matches!(self.work, Work::Role | Work::User | Work::Resume);
            if needs_users && running.url.is_some() && running.data.is_none() {
                return problem(
                    "role, user and resume need a token for each stream: say with --data where the hub's secret is",
                );
            }
            return Ok(());
        }
        if running.data.is_some() || running.token.is_some() {
            return problem(
                "--data and --token are for hubs; other servers have theirs in --stream-header and --publish-header",
            );
        }
        if running.url.is_none() && other.port.is_none() {
            return problem("other servers need --port or --url");
        }
        if other.stream_path.is_none() {
            return problem("other servers need --stream-path");
        }
        if other.publish_path.is_none() && self.work != Work::Connect {
            return problem("other servers need --publish-path");
        }
        if self.batch > 1 {
            return problem("--batch is for hubs; of other servers each request has one message");
        }
        match self.work {
            Work::Resume => {
                problem("resume is for hubs: other servers have other ways to come back")
            }
            Work::Role if other.per.is_none() => {
                problem("--per: how many streams get each message?")
            }
            _ => Ok(()),
        }
    }
}

/// How many live notifications a second there are in resume if --rate does not say.
const LIVE_RATE: f64 = 100.0;
/// As many as that rate has in flight while each answer takes a third of a second.
const LIVE_PUBLISHERS: u16 = 32;

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "must be a number".to_owned())?;
    if (0.01..=1e6).contains(&rate) {
        Ok(rate)
    } else {
        Err("must be 0.01 to 1000000".to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = seconds_or_none(text)?;
    if seconds.is_zero() {
        return Err("must be 0.1 to 3600".to_owned());
    }
    Ok(seconds)
}

fn seconds_or_none(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "must be a number of seconds".to_owned())?;
    if seconds == 0.0 || (0.1..=3_600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be 0.1 to 3600".to_owned())
    }
}

fn path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    fits.then(|| text.to_owned())
        .ok_or_else(|| "must begin with / and hold no blanks".to_owned())
}

fn header(text: &str) -> Result<String, String> {
    let named = text
        .split_once(':')
        .is_some_and(|(name, _)| !name.is_empty());
    let fits = named && !text.contains(|c: char| c.is_control());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "must be a name, a colon and a value".to_owned())
}

fn method(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "must be a method such as POST".to_owned())
}
