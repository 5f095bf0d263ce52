//! Reads an event stream as WHATWG HTML 9.2.6 says, from bytes in pieces of any size.
//!
//! It is the receiving side and so knows nothing of what a hub writes: any conforming stream is read. Lines end in LF,
//! CR or CRLF; all of these are single bytes that occur in no other UTF-8 sequence, so a line is decoded when it is
//! whole, and where the pieces are cut never matters. What a line and an event may grow to is bounded.

use std::time::Duration;

/// The longest line, and the most data in one event, in bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The longest reconnection time that is kept; a longer one counts as this.
const MAX_RETRY: Duration = Duration::from_hours(1);

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its type; `message` if the stream named none.
    pub(crate) name: String,
    /// Its data, lines joined with LF.
    pub(crate) data: String,
    /// Its own `id:`, if it had one.
    pub(crate) id: Option<String>,
}

/// A line or an event grew beyond what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
pub(crate) struct TooLong;

/// The state between two pieces of one stream.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// The last byte ended a line with CR: an LF right after it belongs to the same end.
    after_cr: bool,
    /// The first line has been read: from here on a byte order mark is text.
    begun: bool,
    name: String,
    data: String,
    id: Option<String>,
    last_event_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// Takes the next bytes and returns the events that they complete. What is incomplete when the stream ends is
    /// dropped with the parser, as the standard asks.
    ///
    /// # Errors
    /// [`TooLong`]; the stream cannot be read on after it.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let ends_crlf = std::mem::take(&mut self.after_cr) && *byte == b'\n';
            match byte {
                b'\n' if ends_crlf => {}
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.end_line(&line)?);
                }
                _ if self.line.len() == MAX_EVENT_BYTES => return Err(TooLong),
                _ => self.line.push(*byte),
            }
        }
        Ok(events)
    }

    /// The last event id: what to resume from. It is set by an event's end, even one without data.
    pub(crate) fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// The reconnection time, if the stream set one.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<Event>, TooLong> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        let line = match line.strip_prefix(b"\xEF\xBB\xBF") {
            Some(rest) if is_first => rest,
            _ => line,
        };
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() >= MAX_EVENT_BYTES {
                    return Err(TooLong);
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                let retry = value.parse().map_or(MAX_RETRY, Duration::from_millis);
                self.retry = Some(retry.min(MAX_RETRY));
            }
            // Comments have an empty field name; fields that are not known are passed over.
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        let id = self.id.take();
        if let Some(id) = &id {
            self.last_event_id = Some(id.clone());
        }
        // The line break after the last line of data; without data there is no event.
        data.pop()?;
        let name = if name.is_empty() {
            "message".to_owned()
        } else {
            name
        };
        Some(Event { name, data, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            name: name.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        }
    }

    #[track_caller]
    fn check(stream: &[u8], expected: &[Event]) {
        let whole = Parser::default().push(stream).expect("it is short");
        assert_eq!(whole, expected);
        for cut in 0..=stream.len() {
            let mut parser = Parser::default();
            let (before, after) = stream.split_at(cut);
            let mut events = parser.push(before).expect("it is short");
            events.extend(parser.push(after).expect("it is short"));
            assert_eq!(events, expected, "cut at byte {cut}");
        }
        let mut parser = Parser::default();
        let bytes = stream.iter().map(|byte| parser.push(&[*byte]));
        let events: Vec<Event> = bytes
            .flat_map(|events| events.expect("it is short"))
            .collect();
        assert_eq!(events, expected, "byte by byte");
    }

    #[test]
    fn the_same_events_come_out_wherever_the_bytes_are_cut_and_however_lines_end() {
        let lines = "retry: 2500\nid: k3f9-1\nevent: notification\ndata: {\"é\":\"🔔\"}\n\n: a comment\n\ndata:one\ndata: two\n\
                     data\n\nid: k3f9-2\nevent: heartbeat\ndata: {}\n\n";
        let expected = [
            event("notification", "{\"é\":\"🔔\"}", Some("k3f9-1")),
            event("message", "one\ntwo\n", None),
            event("heartbeat", "{}", Some("k3f9-2")),
        ];
        for end in ["\n", "\r", "\r\n"] {
            check(lines.replace('\n', end).as_bytes(), &expected);
            let marked = format!("\u{feff}{lines}").replace('\n', end);
            check(marked.as_bytes(), &expected);
        }
    }

    #[test]
    fn the_examples_of_the_standard_read_as_it_says() {
        check(
            b"data: YHOO\ndata: +2\ndata: 10\n\n",
            &[event("message", "YHOO\n+2\n10", None)],
        );
        check(
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[
                event("message", "first event", Some("1")),
                event("message", "second event", Some("")),
                event("message", " third event", None),
            ],
        );
        check(
            b"data\n\ndata\ndata\n\ndata:",
            &[event("message", "", None), event("message", "\n", None)],
        );
        check(
            b"data:test\n\ndata: test\n\n",
            &[
                event("message", "test", None),
                event("message", "test", None),
            ],
        );
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start() {
        check(
            "\u{feff}\u{feff}data: a\n\ndata: b\n\n".as_bytes(),
            &[event("message", "b", None)],
        );
        check(
            "data: \u{feff}a\n\n".as_bytes(),
            &[event("message", "\u{feff}a", None)],
        );
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        check(b"data: \xff\n\n", &[event("message", "\u{fffd}", None)]);
    }

    #[test]
    fn an_id_is_kept_without_data_and_refused_with_a_null() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(b"id: 7\n"), Ok(Vec::new()));
        assert_eq!(parser.last_event_id(), None);
        assert_eq!(
            parser.push(b"\nid: 8\0\ndata: x\n\n"),
            Ok(vec![event("message", "x", None)])
        );
        assert_eq!(parser.last_event_id(), Some("7"));
    }

    #[test]
    fn a_reconnection_time_is_digits_only_and_bounded() {
        let retry = |value: &str| {
            let mut parser = Parser::default();
            let events = parser.push(format!("retry: {value}\n").as_bytes());
            assert_eq!(events, Ok(Vec::new()));
            parser.retry()
        };
        assert_eq!(retry("2500"), Some(Duration::from_millis(2500)));
        assert_eq!(retry("0"), Some(Duration::ZERO));
        assert_eq!(retry("99999999999999999999999"), Some(MAX_RETRY));
        for wrong in ["", "-1", "1.5", "1s", "+1"] {
            assert_eq!(retry(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_stream_without_line_ends_does_not_fill_the_memory() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_EVENT_BYTES];
        assert_eq!(parser.push(&piece), Ok(Vec::new()));
        assert_eq!(parser.push(b"x"), Err(TooLong));
        let mut parser = Parser::default();
        let line = format!("data: {}\n", "x".repeat(MAX_EVENT_BYTES / 2));
        assert_eq!(parser.push(line.as_bytes()), Ok(Vec::new()));
        assert_eq!(parser.push(line.as_bytes()), Err(TooLong));
    }
}
