//! As much of HTTP/1.1 as tells when an answer to a publisher is whole, and what it says.

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Where the body begins.
    pub(super) length: usize,
    body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Sized(usize),
    Chunked,
    /// Nothing that says how long it is: taken for none.
    None,
}

impl Head {
    /// None as long as it is not all there.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
        let mut lines = bytes[..end].split(|byte| *byte == b'\n');
        let status = lines.next().and_then(status).unwrap_or(0);
        let mut body = Body::None;
        for line in lines {
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = std::str::from_utf8(value)
                    .ok()
                    .and_then(|it| it.parse().ok());
                body = Body::Sized(length.unwrap_or(0));
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                body = Body::Chunked;
                break;
            }
        }
        Some(Self {
            status,
            length: end + 4,
            body,
        })
    }

    /// Whether all of the answer is there.
    pub(super) fn is_whole(&self, bytes: &[u8]) -> bool {
        let body = bytes.get(self.length..).unwrap_or_default();
        match self.body {
            Body::Sized(length) => body.len() >= length,
            Body::Chunked => body.ends_with(b"0\r\n\r\n"),
            Body::None => true,
        }
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .trim_ascii_end()
        .parse()
        .ok()
}

/// An answer for people: its status and the beginning of its body, on one line.
pub(super) fn in_words(bytes: &[u8]) -> String {
    const LONGEST: usize = 300;
    let Some(head) = Head::of(bytes) else {
        return crate::output::shortened(&String::from_utf8_lossy(bytes), LONGEST);
    };
    let first = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let body = String::from_utf8_lossy(&bytes[head.length..]);
    let words = format!("{} {}", String::from_utf8_lossy(first), body.trim());
    crate::output::shortened(words.trim(), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, status: u16) {
        for end in 0..answer.len() {
            let part = &answer.as_bytes()[..end];
            assert!(
                !Head::of(part).is_some_and(|head| head.is_whole(part)),
                "{end}"
            );
        }
        let head = Head::of(answer.as_bytes()).expect("a head");
        assert!(head.is_whole(answer.as_bytes()));
        assert_eq!(head.status, status);
    }

    #[test]
    fn an_answer_is_whole_when_its_last_byte_is_there_and_not_before() {
        check("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", 201);
        check("HTTP/1.1 204 No Content\r\n\r\n", 204);
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            200,
        );
        check("HTTP/1.0 503\r\ncontent-length:0\r\n\r\n", 503);
    }

    #[test]
    fn what_is_no_answer_is_no_success() {
        let head = Head::of(b"220 mail.example.com ESMTP\r\n\r\n").expect("an end");
        assert!(!head.is_success());
        let answer = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nfu\nl";
        assert_eq!(in_words(answer), "HTTP/1.1 503 Busy fu l");
    }
}
