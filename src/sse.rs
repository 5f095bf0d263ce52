//! Event-stream syntax, and the only place that knows it (WHATWG HTML 9.2).
//!
//! The wire rule, which every client we know parses: LF only, no BOM, one `data:` line of JSON in which U+0085, U+2028
//! and U+2029 are escaped, ids of ASCII. A [`Frame`] is one event encoded once and shared by all streams that it goes
//! to: with its name or without (for clients that only have `onmessage`), and wrapped as one chunk of HTTP/1.1 (RFC 9112
//! 7.1) or bare, which is a slice of the same bytes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::inbox::Unread;
use crate::notification::{Entry, Ephemeral};

/// The end of a body in chunked framing.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How a stream's body is delimited on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `transfer-encoding: chunked`, as HTTP/1.1 has it; an end can be told from a break.
    Chunked,
    /// The body lasts until the connection closes (HTTP/1.0), or somebody else does the framing.
    UntilClose,
}

/// Whether events carry their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `event: notification`: for `addEventListener`.
    Named,
    /// No `event:` line: everything arrives as `message`, told apart by `type` in the JSON.
    Unnamed,
}

/// Why the hub ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bye {
    /// The hub is stopping; another start, or another hub, takes over.
    Draining,
    /// The token has expired.
    TokenExpired,
    /// The stream has lived its longest; come back with fresh credentials.
    Reauth,
    /// The credentials were revoked.
    Revoked,
    /// Too many streams.
    Busy,
}

/// One event.
#[derive(Debug)]
pub struct Frame {
    retry: Option<Duration>,
    id: Option<String>,
    name: &'static str,
    json: String,
    named: OnceLock<Encoded>,
    unnamed: OnceLock<Encoded>,
}

/// A frame's bytes as one chunk; the event itself is a slice of it.
#[derive(Debug)]
struct Encoded {
    chunk: Bytes,
    event: Bytes,
}

/// What a stream is told first.
pub(crate) struct Connected<'a> {
    /// How long to wait before reconnecting.
    pub(crate) retry: Duration,
    /// The place from which it goes on; none where a `gap` follows, so that a client which loses the connection
    /// before the gap has arrived is told of it again.
    pub(crate) id: Option<String>,
    /// Whose stream.
    pub(crate) user: &'a str,
    /// Their roles.
    pub(crate) roles: &'a [Arc<str>],
    /// This stream.
    pub(crate) connection: Uuid,
    /// Whether everything since the client's cursor follows.
    pub(crate) recovered: bool,
    /// Broadcasts since then have been pruned.
    pub(crate) broadcasts_missed: bool,
    /// How often a heartbeat comes.
    pub(crate) heartbeat: Duration,
}

/// Where something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GapScope {
    /// Too much has happened, or part of it is pruned: the inbox has what matters.
    Inbox,
    /// The cursor is of another database, or none at all.
    Epoch,
}

impl Frame {
    fn new(name: &'static str, id: Option<String>, json: String) -> Self {
        Self {
            retry: None,
            id,
            name,
            json,
            named: OnceLock::new(),
            unnamed: OnceLock::new(),
        }
    }

    /// A notification or broadcast; `id` is none for one that is behind the stream's cursor.
    #[doc(hidden)] // for benches/steps
    pub fn notification(id: Option<String>, entry: &Entry) -> Self {
        let json = notification_json(entry.id, entry.created_at, &entry.body);
        Self::new("notification", id, json)
    }

    /// One that is passed on and not kept: it has no id, because nobody can come back to it.
    pub(crate) fn ephemeral(ephemeral: &Ephemeral) -> Self {
        let json = notification_json(ephemeral.id, ephemeral.created_at, &ephemeral.body);
        Self::new("notification", None, json)
    }

    /// What every stream begins with.
    pub(crate) fn connected(connected: Connected<'_>, now: Timestamp) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a> {
            roles: &'a [Arc<str>],
            recovered: bool,
            heartbeat_seconds: u64,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            broadcasts_missed: bool,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Event<'a> {
            r#type: &'static str,
            user_id: &'a str,
            connection_id: Uuid,
            timestamp: Timestamp,
            data: Data<'a>,
        }
        let json = to_json(&Event {
            r#type: "connected",
            user_id: connected.user,
            connection_id: connected.connection,
            timestamp: now,
            data: Data {
                roles: connected.roles,
                recovered: connected.recovered,
                // Rounded up: a client that waits a little longer declares nobody dead.
                heartbeat_seconds: connected.heartbeat.as_millis().div_ceil(1000) as u64,
                broadcasts_missed: connected.broadcasts_missed,
            },
        });
        Self {
            retry: Some(connected.retry),
            ..Self::new("connected", connected.id, json)
        }
    }

    /// A sign of life; `id` lets a quiet user's cursor advance.
    pub(crate) fn heartbeat(id: Option<String>, now: Timestamp) -> Self {
        let json = format!(
            r#"{{"type":"heartbeat","timestamp":{now}}}"#,
            now = now.as_millis()
        );
        Self::new("heartbeat", id, json)
    }

    /// Something is missing before this place; the stream goes on from it.
    pub(crate) fn gap(id: String, scope: GapScope, now: Timestamp) -> Self {
        #[derive(Serialize)]
        struct Data {
            scope: GapScope,
        }
        Self::new("gap", Some(id), event_json("gap", now, Data { scope }))
    }

    /// How much of the user's inbox is unread. It has no id: the count has no place in the log.
    pub(crate) fn status(unread: Unread, now: Timestamp) -> Self {
        #[derive(Serialize)]
        struct Data {
            unread: Unread,
        }
        Self::new("status", None, event_json("status", now, Data { unread }))
    }

    /// The last word of a stream.
    pub(crate) fn bye(reason: Bye, retry: Duration, now: Timestamp) -> Self {
        #[derive(Serialize)]
        struct Data {
            reason: Bye,
        }
        Self {
            retry: Some(retry),
            ..Self::new("bye", None, event_json("bye", now, Data { reason }))
        }
    }

    /// About how many bytes it holds once it is encoded.
    pub(crate) fn size(&self) -> usize {
        2 * self.json.len() + 128
    }

    /// The bytes for streams of this kind; encoded at the first call, shared afterwards.
    #[doc(hidden)] // for benches/steps
    pub fn bytes(&self, naming: Naming, framing: Framing) -> &Bytes {
        let encoded = match naming {
            Naming::Named => self.named.get_or_init(|| self.encode(Some(self.name))),
            Naming::Unnamed => self.unnamed.get_or_init(|| self.encode(None)),
        };
        match framing {
            Framing::Chunked => &encoded.chunk,
            Framing::UntilClose => &encoded.event,
        }
    }

    fn encode(&self, name: Option<&str>) -> Encoded {
        let mut event = String::with_capacity(self.json.len() + 96);
        // Writing to a String cannot fail.
        if let Some(retry) = self.retry {
            let _ = writeln!(event, "retry: {}", retry.as_millis());
        }
        if let Some(id) = &self.id {
            let _ = writeln!(event, "id: {id}");
        }
        if let Some(name) = name {
            let _ = writeln!(event, "event: {name}");
        }
        let _ = write!(event, "data: {}\n\n", escape_line_ends(&self.json));
        let mut chunk = format!("{:x}\r\n", event.len());
        let start = chunk.len();
        chunk.push_str(&event);
        chunk.push_str("\r\n");
        let chunk = Bytes::from(chunk);
        let event = chunk.slice(start..start + event.len());
        Encoded { chunk, event }
    }
}

/// A whole body for a client that is refused for a while: an EventSource dies for good on any status but 200, so it is
/// told in the stream's own words when to come back.
pub fn refusal(reason: Bye, retry: Duration) -> String {
    let frame = Frame::bye(reason, retry, Timestamp::now());
    String::from_utf8_lossy(frame.bytes(Naming::Named, Framing::UntilClose)).into_owned()
}

fn notification_json(id: Uuid, created_at: Timestamp, body: &str) -> String {
    let mut json = String::with_capacity(body.len() + 128);
    // The id is hex and hyphens and the body is JSON already, so this is JSON without a serialiser's second pass.
    let _ = write!(
        json,
        r#"{{"type":"notification","notificationId":"{id}","timestamp":{},"data":{body}}}"#,
        created_at.as_millis(),
    );
    json
}

fn event_json<T: Serialize>(kind: &'static str, timestamp: Timestamp, data: T) -> String {
    #[derive(Serialize)]
    struct Event<T> {
        r#type: &'static str,
        timestamp: Timestamp,
        data: T,
    }
    to_json(&Event {
        r#type: kind,
        timestamp,
        data,
    })
}

/// Only called with the structs above, whose serialisation has no way to fail.
fn to_json<T: Serialize>(event: &T) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

/// JSON may hold these three raw in its strings; some readers take them for line ends, so they go out as escapes.
fn escape_line_ends(json: &str) -> Cow<'_, str> {
    if !json.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        match c {
            '\u{85}' => escaped.push_str("\\u0085"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: &Frame, naming: Naming, framing: Framing) -> String {
        String::from_utf8_lossy(frame.bytes(naming, framing)).into_owned()
    }

    #[test]
    fn an_event_is_one_data_line_and_its_chunk_wraps_the_same_bytes() {
        let frame = Frame::heartbeat(Some("e-7".into()), Timestamp::from_millis(5));
        let bare = text(&frame, Naming::Named, Framing::UntilClose);
        assert_eq!(
            bare,
            "id: e-7\nevent: heartbeat\ndata: {\"type\":\"heartbeat\",\"timestamp\":5}\n\n"
        );
        assert_eq!(
            text(&frame, Naming::Named, Framing::Chunked),
            format!("{:x}\r\n{bare}\r\n", bare.len())
        );
        assert_eq!(
            text(&frame, Naming::Unnamed, Framing::UntilClose),
            "id: e-7\ndata: {\"type\":\"heartbeat\",\"timestamp\":5}\n\n"
        );
    }

    #[test]
    fn characters_that_some_readers_take_for_line_ends_are_escaped() {
        assert_eq!(
            escape_line_ends("\"a\u{85}b\u{2028}c\u{2029}d\""),
            "\"a\\u0085b\\u2028c\\u2029d\""
        );
    }
}
