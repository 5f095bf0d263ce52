//! The publishers: connections with one request in flight on each, kept open from one to the next.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::answer::{self, Head};
use super::streams::is_not_yet;
use super::tally::{Sent, Tally};

/// Servers close a connection on which nothing is asked for a while; so long they all wait.
const IDLE: Duration = Duration::from_secs(4);
/// The longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// If so many answers, from the first on, are refusals, there is nothing to measure.
const HOPELESS: u64 = 100;

/// All publishers of a run.
pub(super) struct Publishers {
    server: SocketAddr,
    /// The token of the first; the others follow.
    first_token: usize,
    all: Vec<Publisher>,
    /// Those that may send, in turn: so none of them is idle for long.
    free: VecDeque<usize>,
    taken: u64,
}

#[derive(Default)]
struct Publisher {
    socket: Option<TcpStream>,
    request: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
    in_flight: Option<(Sent, u64)>,
    idle_since: Option<Instant>,
}

impl Publishers {
    pub(super) fn new(server: SocketAddr, count: usize, first_token: usize) -> Self {
        Self {
            server,
            first_token,
            all: std::iter::repeat_with(Publisher::default)
                .take(count)
                .collect(),
            free: (0..count).collect(),
            taken: 0,
        }
    }

    /// Connects them all, so that none has to when its turn comes.
    pub(super) fn connect(&mut self, registry: &Registry) -> anyhow::Result<()> {
        for (number, publisher) in self.all.iter_mut().enumerate() {
            let token = Token(self.first_token + number);
            publisher.connect(self.server, token, registry)?;
        }
        Ok(())
    }

    /// Whose turn it is, if any has no request in flight.
    pub(super) fn free(&self) -> Option<usize> {
        self.free.front().copied()
    }

    pub(super) fn are_all_free(&self) -> bool {
        self.free.len() == self.all.len()
    }

    /// Where to write the next request of the one whose turn it is.
    pub(super) fn request(&mut self, publisher: usize) -> &mut Vec<u8> {
        let request = &mut self.all[publisher].request;
        request.clear();
        request
    }

    /// Sends what was written there.
    pub(super) fn send(
        &mut self,
        publisher: usize,
        sent: Sent,
        registry: &Registry,
        now: u64,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        self.free.pop_front();
        tally.sent(sent);
        let token = Token(self.first_token + publisher);
        let it = &mut self.all[publisher];
        it.written = 0;
        it.answer.clear();
        it.in_flight = Some((sent, now));
        let stale = it.idle_since.is_none_or(|since| since.elapsed() > IDLE);
        if it.socket.is_none() || stale {
            it.connect(self.server, token, registry)?;
        }
        it.idle_since = None;
        self.write(publisher, tally)
    }

    /// Does what an event calls for.
    pub(super) fn ready(
        &mut self,
        event: &Event,
        buffer: &mut [u8],
        now: impl Fn() -> u64,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let publisher = event.token().0 - self.first_token;
        if event.is_writable() {
            self.write(publisher, tally)?;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(publisher, buffer, now, tally)?;
        }
        Ok(())
    }

    fn write(&mut self, publisher: usize, tally: &mut Tally) -> anyhow::Result<()> {
        let it = &mut self.all[publisher];
        let (Some(socket), Some(_)) = (&mut it.socket, &it.in_flight) else {
            return Ok(());
        };
        while it.written < it.request.len() {
            match socket.write(&it.request[it.written..]) {
                Ok(written) => it.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return self.cut(publisher, &error.to_string(), tally),
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        publisher: usize,
        buffer: &mut [u8],
        now: impl Fn() -> u64,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        loop {
            let it = &mut self.all[publisher];
            let Some(socket) = &mut it.socket else {
                return Ok(());
            };
            match socket.read(buffer) {
                Ok(0) => return self.cut(publisher, "its connection was closed", tally),
                Ok(length) => it.answer.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return self.cut(publisher, &error.to_string(), tally),
            }
            let Some(head) = Head::of(&it.answer).filter(|head| head.is_whole(&it.answer)) else {
                if it.answer.len() > MAX_ANSWER_BYTES {
                    anyhow::bail!(
                        "a publisher was answered with more than {MAX_ANSWER_BYTES} bytes"
                    );
                }
                continue;
            };
            self.answered(publisher, head, now(), tally)?;
        }
    }

    fn answered(
        &mut self,
        publisher: usize,
        head: Head,
        now: u64,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        let it = &mut self.all[publisher];
        let Some((sent, asked)) = it.in_flight.take() else {
            // Some servers say that they have waited long enough, and close.
            it.socket = None;
            return Ok(());
        };
        it.idle_since = Some(Instant::now());
        self.free.push_back(publisher);
        if sent.moment >= tally.since {
            tally.answers.add(now.saturating_sub(asked));
        }
        let words = || answer::in_words(&it.answer);
        if !head.is_success() {
            tally.refused(sent, words);
            if self.taken == 0 && tally.refused >= HOPELESS {
                let why = tally.refusal.as_deref().unwrap_or_default();
                anyhow::bail!("everything that is published is refused: {why}");
            }
            return Ok(());
        }
        self.taken += 1;
        if sent.count > 1 {
            // The answer to a batch is 200, and in it one for each.
            let problems = memchr::memmem::find_iter(&it.answer, b"\"problem\":").count() as u64;
            if problems > 0 {
                tally.refused_in_part(sent, problems, words);
            }
        }
        Ok(())
    }

    /// A connection that ended. Between two requests any server may do that.
    fn cut(&mut self, publisher: usize, why: &str, tally: &mut Tally) -> anyhow::Result<()> {
        let it = &mut self.all[publisher];
        it.socket = None;
        let Some((sent, _)) = it.in_flight.take() else {
            return Ok(());
        };
        self.free.push_back(publisher);
        tally.refused(sent, || format!("no answer: {why}"));
        if self.taken == 0 {
            anyhow::bail!("nothing can be published: {why}");
        }
        Ok(())
    }
}

impl Publisher {
    fn connect(
        &mut self,
        server: SocketAddr,
        token: Token,
        registry: &Registry,
    ) -> anyhow::Result<()> {
        let socket = TcpStream::connect(server).and_then(|mut socket| {
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut socket, token, both)?;
            socket.set_nodelay(true)?;
            Ok(socket)
        });
        self.socket = Some(socket.context("cannot connect a publisher")?);
        self.idle_since = Some(Instant::now());
        Ok(())
    }
}
