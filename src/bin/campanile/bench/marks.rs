//! Marks: what is published carries when, and every stream's bytes are searched for it, whatever they are wrapped in. So
//! one tool measures every server on the same work.
//!
//! A mark is `~T<unix nanoseconds>~`. The digits below a microsecond say which publisher's it is: what one publisher
//! sends, one request after the other, must arrive in that order; between two nobody knows which came first.

use std::time::Instant;

use campanile::clock::Timestamp;

/// The most publishers that a mark can tell apart.
pub(super) const MAX_PUBLISHERS: usize = 1_000;
const STEP: u64 = MAX_PUBLISHERS as u64;

/// Unix nanoseconds that never go back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
    unix_nanos: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            origin: Instant::now(),
            unix_nanos: Timestamp::now().as_millis() * 1_000_000,
        }
    }

    pub(super) fn now(&self) -> u64 {
        let passed = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.unix_nanos.saturating_add(passed)
    }
}

/// The number in the mark of what `publisher` sends at this moment.
pub(super) fn number(moment: u64, publisher: usize) -> u64 {
    moment / STEP * STEP + publisher as u64
}

/// Whose mark it is.
pub(super) fn publisher(number: u64) -> usize {
    (number % STEP) as usize
}

/// Finds marks in bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    number: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Outside,
    Begun,
    Digits,
}

impl Scanner {
    /// Calls `found` with the number of each mark that ends in these bytes.
    pub(super) fn scan(&mut self, bytes: &[u8], mut found: impl FnMut(u64)) {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Outside = self.state {
                match memchr::memchr(b'~', &bytes[at..]) {
                    Some(skipped) => at += skipped,
                    None => return,
                }
            }
            self.state = match (self.state, bytes[at]) {
                (State::Begun, b'T') => {
                    self.number = 0;
                    State::Digits
                }
                (State::Digits, digit @ b'0'..=b'9') => {
                    let digit = u64::from(digit - b'0');
                    self.number = self.number.wrapping_mul(10).wrapping_add(digit);
                    State::Digits
                }
                (State::Digits, b'~') => {
                    found(self.number);
                    State::Outside
                }
                (_, b'~') => State::Begun,
                _ => State::Outside,
            };
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_whatever_pieces_they_come() {
        let text = b"data: {\"m\":\"~T12~\"}\n\n~~T7~ ~T~x ~ T5~ ~Tx~T4~";
        for size in 1..=text.len() {
            let mut scanner = Scanner::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                scanner.scan(piece, |number| found.push(number));
            }
            assert_eq!(found, [12, 7, 0, 4], "in pieces of {size}");
        }
    }

    #[test]
    fn a_number_says_when_to_the_microsecond_and_whose() {
        let now = Clock::start().now();
        let number = number(now, 999);
        assert_eq!(publisher(number), 999);
        assert!(number.abs_diff(now) < 1_000);
    }
}
