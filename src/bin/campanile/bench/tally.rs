//! What was published, for how many, and what came of it.

use super::histogram::Histogram;
use super::marks;

/// Whom what is published is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// All streams.
    Everyone,
    /// One of so many roles in turn; a stream has the role that its number is of modulo theirs.
    Roles(usize),
    /// One stream in turn, from the first of so many.
    Users { first: usize, count: usize },
    /// Nobody knows who it is; so many streams at a time.
    Unknown(u64),
}

impl Audience {
    /// Whom the message with this number is for: the role's number, or the stream's. What is for everyone has one all the same,
    /// the message's turn, and other servers may make of it what they like.
    fn target(self, n: u64, streams: usize) -> usize {
        let turn = |count: usize| (n % count as u64) as usize;
        match self {
            Self::Roles(count) => turn(count),
            Self::Users { first, count } => first + turn(count),
            Self::Everyone | Self::Unknown(_) => turn(streams),
        }
    }

    /// How many streams that are.
    fn size(self, target: usize, streams: usize) -> u64 {
        match self {
            Self::Everyone => streams as u64,
            Self::Roles(count) => (streams / count + usize::from(target < streams % count)) as u64,
            Self::Users { .. } => 1,
            Self::Unknown(per) => per,
        }
    }

    /// The same on average.
    pub(super) fn mean_size(self, streams: usize) -> f64 {
        match self {
            Self::Roles(count) => streams as f64 / count as f64,
            other => other.size(0, streams) as f64,
        }
    }
}

/// The counts of a run. What came before the measurement began counts in `due` and `arrived` alone.
#[derive(Debug)]
pub(super) struct Tally {
    audience: Audience,
    streams: usize,
    /// How many messages went to each role or stream.
    to: Vec<u64>,
    /// How many went to everyone.
    to_all: u64,
    /// What had already been published for everyone when the streams came: that many for each of the first so many.
    missed: (usize, u64),
    /// Marks from before this moment are an earlier run's: a hub serves each user from where they were.
    began: u64,
    /// The mark's moment from which on it is measured.
    pub(super) since: u64,
    /// Deliveries that there are to be, and that there were.
    pub(super) due: u64,
    pub(super) arrived: u64,
    pub(super) published: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) resumed: u64,
    pub(super) out_of_order: u64,
    pub(super) refused: u64,
    /// The first refusal, in words.
    pub(super) refusal: Option<String>,
    /// Whether it is known which of a batch were refused.
    refused_in_part: bool,
    pub(super) latency: Histogram,
    pub(super) answers: Histogram,
    /// When the last of what is measured came.
    pub(super) last_arrival: u64,
    pub(super) last_resumed: u64,
    /// Bytes of streams, and marks in them, since the measurement began.
    pub(super) bytes: u64,
    pub(super) marks: u64,
}

/// Messages of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The number of the first.
    pub(super) first: u64,
    pub(super) count: u64,
    /// The moment in their marks.
    pub(super) moment: u64,
}

impl Tally {
    pub(super) fn new(audience: Audience, streams: usize, began: u64) -> Self {
        let targets = match audience {
            Audience::Everyone | Audience::Unknown(_) => 0,
            Audience::Roles(count) => count,
            Audience::Users { .. } => streams,
        };
        Self {
            audience,
            streams,
            to: vec![0; targets],
            to_all: 0,
            missed: (0, 0),
            began: marks::number(began, 0),
            since: u64::MAX,
            due: 0,
            arrived: 0,
            published: 0,
            expected: 0,
            delivered: 0,
            resumed: 0,
            out_of_order: 0,
            refused: 0,
            refusal: None,
            refused_in_part: false,
            latency: Histogram::new(),
            answers: Histogram::new(),
            last_arrival: 0,
            last_resumed: 0,
            bytes: 0,
            marks: 0,
        }
    }

    /// What is marked with this moment or a later one is measured. Said before anything is published.
    pub(super) fn measure_from(&mut self, moment: u64) {
        self.since = moment;
    }

    /// That moment has come.
    pub(super) fn begin(&mut self) {
        self.bytes = 0;
        self.marks = 0;
    }

    /// The first `streams` have missed so many.
    pub(super) fn missed(&mut self, streams: usize, messages: u64) {
        self.missed = (streams, messages);
        self.due += streams as u64 * messages;
    }

    pub(super) fn audience(&self) -> Audience {
        self.audience
    }

    /// Whom the message with this number is for.
    pub(super) fn target(&self, n: u64) -> usize {
        self.audience.target(n, self.streams)
    }

    pub(super) fn sent(&mut self, sent: Sent) {
        self.count(sent, |count, more| *count += more);
    }

    /// None of them was taken.
    pub(super) fn refused(&mut self, sent: Sent, why: impl FnOnce() -> String) {
        self.count(sent, |count, less| *count -= less);
        self.refused += sent.count;
        self.refusal.get_or_insert_with(why);
    }

    /// So many of them, it is not said which, were not taken.
    pub(super) fn refused_in_part(
        &mut self,
        sent: Sent,
        refused: u64,
        why: impl FnOnce() -> String,
    ) {
        if refused >= sent.count {
            return self.refused(sent, why);
        }
        let count = refused;
        self.count(Sent { count, ..sent }, |count, less| *count -= less);
        self.refused += refused;
        self.refused_in_part = true;
        self.refusal.get_or_insert_with(why);
    }

    fn count(&mut self, sent: Sent, change: impl Fn(&mut u64, u64)) {
        let measured = marks::number(sent.moment, 0) >= marks::number(self.since, 0);
        for n in sent.first..sent.first + sent.count {
            let target = self.target(n);
            let size = self.audience.size(target, self.streams);
            change(self.to.get_mut(target).unwrap_or(&mut self.to_all), 1);
            change(&mut self.due, size);
            if measured {
                change(&mut self.published, 1);
                change(&mut self.expected, size);
            }
        }
    }

    /// Whether this mark is of this run.
    pub(super) fn is_ours(&self, number: u64) -> bool {
        number >= self.began
    }

    /// A mark has come.
    pub(super) fn arrived(&mut self, number: u64, now: u64) {
        self.arrived += 1;
        self.marks += 1;
        if number >= marks::number(self.since, 0) {
            self.delivered += 1;
            self.latency.add(now.saturating_sub(number));
            self.last_arrival = now;
        } else if self.missed.1 > 0 {
            self.resumed += 1;
            self.last_resumed = now;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.arrived >= self.due
    }

    /// How many deliveries are missing, and how many came that nobody was to have, given what each stream has had.
    pub(super) fn missing_and_surplus(&self, seen: impl Iterator<Item = u64>) -> (u64, u64) {
        if matches!(self.audience, Audience::Unknown(_)) || self.refused_in_part {
            let missing = self.due.saturating_sub(self.arrived);
            return (missing, self.arrived.saturating_sub(self.due));
        }
        let (mut missing, mut surplus) = (0, 0);
        for (stream, seen) in seen.enumerate() {
            let sent = match self.audience {
                Audience::Everyone | Audience::Unknown(_) => self.to_all,
                Audience::Roles(count) => self.to[stream % count],
                Audience::Users { .. } => self.to[stream],
            };
            let missed = if stream < self.missed.0 {
                self.missed.1
            } else {
                0
            };
            let expected = sent + missed;
            missing += expected.saturating_sub(seen);
            surplus += seen.saturating_sub(expected);
        }
        (missing, surplus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Sent = Sent {
        first: 0,
        count: 7,
        moment: 5_000,
    };

    #[test]
    fn each_message_is_expected_by_those_whom_it_is_for() {
        for (audience, due, seen) in [
            (Audience::Everyone, 35, [7; 5]),
            (Audience::Roles(2), 4 * 3 + 3 * 2, [4, 3, 4, 3, 4]),
            (Audience::Users { first: 3, count: 2 }, 7, [0, 0, 0, 4, 3]),
        ] {
            let mut tally = Tally::new(audience, 5, 0);
            tally.measure_from(0);
            tally.sent(SENT);
            assert_eq!((tally.due, tally.expected), (due, due), "{audience:?}");
            assert_eq!(tally.missing_and_surplus(seen.into_iter()), (0, 0));
            let mut others = seen;
            others.swap(2, 3);
            let wrong = tally.missing_and_surplus(others.into_iter());
            assert_eq!(wrong.0, wrong.1);
            assert_eq!(wrong.0 > 0, audience != Audience::Everyone);
            tally.refused(SENT, || "no".to_owned());
            assert_eq!((tally.due, tally.refused), (0, 7));
        }
    }

    #[test]
    fn what_is_marked_with_an_earlier_moment_is_not_measured_and_yet_awaited() {
        let mut tally = Tally::new(Audience::Everyone, 1, 0);
        tally.measure_from(9_000);
        tally.sent(SENT);
        tally.arrived(5_000, 10_000);
        assert_eq!((tally.due, tally.arrived, tally.delivered), (7, 1, 0));
        assert!(!tally.is_complete());
        assert_eq!(tally.missing_and_surplus([1].into_iter()), (6, 0));
    }
}
