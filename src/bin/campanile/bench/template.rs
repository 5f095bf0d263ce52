//! Requests as templates: what stands in braces is filled in for each stream and each message. Rendering one allocates
//! nothing once its buffers have grown.

use std::io::Write;

/// A text with holes.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Stream,
    Message,
    Mark,
    Pad,
    Token,
}

const HOLES: [(&str, Piece); 5] = [
    ("{i}", Piece::Stream),
    ("{n}", Piece::Message),
    ("{mark}", Piece::Mark),
    ("{pad}", Piece::Pad),
    ("{token}", Piece::Token),
];

/// What fills the holes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fill<'a> {
    /// The stream's number; of what is published, whom it is for.
    pub(super) i: usize,
    /// The message's number.
    pub(super) n: u64,
    /// The number in its mark, if it has one.
    pub(super) mark: Option<u64>,
    pub(super) pad: &'a str,
    pub(super) token: &'a str,
}

impl Template {
    /// Any other text in braces stands for itself: JSON is full of them.
    pub(super) fn parse(mut text: &str) -> Self {
        let mut pieces = Vec::new();
        while !text.is_empty() {
            let holes = HOLES.iter().filter_map(|(name, piece)| {
                let at = text.find(name)?;
                Some((at, name.len(), piece))
            });
            let (at, length, piece) = match holes.min_by_key(|(at, ..)| *at) {
                Some((at, length, piece)) => (at, length, Some(piece)),
                None => (text.len(), 0, None),
            };
            if at > 0 {
                pieces.push(Piece::Text(text[..at].to_owned()));
            }
            pieces.extend(piece.cloned());
            text = &text[at + length..];
        }
        Self(pieces)
    }

    pub(super) fn render(&self, out: &mut Vec<u8>, fill: &Fill<'_>) {
        for piece in &self.0 {
            // Writing to memory does not fail.
            let _ = match piece {
                Piece::Text(text) => out.write_all(text.as_bytes()),
                Piece::Stream => write!(out, "{}", fill.i),
                Piece::Message => write!(out, "{}", fill.n),
                Piece::Mark => fill.mark.map_or(Ok(()), |mark| write!(out, "~T{mark}~")),
                Piece::Pad => out.write_all(fill.pad.as_bytes()),
                Piece::Token => out.write_all(fill.token.as_bytes()),
            };
        }
    }

    pub(super) fn has_mark(&self) -> bool {
        self.0.contains(&Piece::Mark)
    }
}

/// One kind of request to one server.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: Template,
    /// Whole lines, without their end.
    pub(super) headers: Vec<Template>,
}

impl Request {
    /// A request without a body, for a stream that goes on from `place`.
    pub(super) fn render(&self, out: &mut Vec<u8>, fill: &Fill<'_>, place: Option<&str>) {
        self.head(out, fill);
        if let Some(place) = place {
            let _ = write!(out, "Last-Event-ID: {place}\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// A request with this body.
    pub(super) fn render_with(&self, out: &mut Vec<u8>, fill: &Fill<'_>, body: &[u8]) {
        self.head(out, fill);
        let _ = write!(out, "Content-Length: {}\r\n\r\n", body.len());
        out.extend_from_slice(body);
    }

    fn head(&self, out: &mut Vec<u8>, fill: &Fill<'_>) {
        let _ = write!(out, "{} ", self.method);
        self.path.render(out, fill);
        let _ = write!(out, " HTTP/1.1\r\nHost: {}\r\n", self.host);
        for header in &self.headers {
            header.render(out, fill);
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_and_other_braces_stand_for_themselves() {
        let template =
            Template::parse(r#"{"to":{i},"n":{n},"m":"{mark}{pad}","x":{},"t":"{token}"}"#);
        let fill = Fill {
            i: 7,
            n: 8,
            mark: Some(9),
            pad: "xx",
            token: "k",
        };
        let mut out = Vec::new();
        template.render(&mut out, &fill);
        let expected = r#"{"to":7,"n":8,"m":"~T9~xx","x":{},"t":"k"}"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert!(template.has_mark() && !Template::parse("{n}").has_mark());
    }
}
