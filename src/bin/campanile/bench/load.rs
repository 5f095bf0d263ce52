//! The load: one thread and one poll drive every stream and every publisher. What a run is made of stands here as phases:
//! opening, a quiet moment, publishing, waiting for what is still to come.

use std::time::{Duration, Instant};

use anyhow::Context;
use mio::{Events, Poll, Token};

use super::interrupt::Interrupt;
use super::marks::{self, Clock};
use super::progress::Progress;
use super::publishers::Publishers;
use super::schedule::{Due, Publishing, Schedule};
use super::server::{Publication, Server};
use super::streams::Streams;
use super::tally::{Sent, Tally};
use super::template::Fill;

/// So many events are taken from the poll at once: those of some thousand streams that one write of a server reached, so that
/// what is published next follows when all of them have it.
const EVENTS: usize = 4096;
/// What is read from one socket at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// So many streams are begun between two looks at those that have been.
const OPENED_AT_ONCE: usize = 64;
/// As long as nothing else calls for it, the poll is left so often, to look at the clock and for a signal.
const GLANCE: Duration = Duration::from_millis(20);
/// If no stream is opened for so long, no more will be: longer than a hub lets them wait in line.
const OPENING_PATIENCE: Duration = Duration::from_secs(45);

/// Whoever watches: a person at a terminal, who may have had enough.
pub(super) struct Watch {
    pub(super) interrupt: Interrupt,
    pub(super) progress: Progress,
}

/// A server, and all that is connected to it.
pub(super) struct Load<'a> {
    server: &'a Server,
    publication: &'a Publication,
    poll: Poll,
    events: Events,
    buffer: Box<[u8]>,
    body: Vec<u8>,
    pub(super) clock: Clock,
    pub(super) streams: Streams,
    publishers: Publishers,
    pub(super) tally: Tally,
    /// The number of the next message.
    next: u64,
    watch: &'a Watch,
}

impl<'a> Load<'a> {
    pub(super) fn new(
        server: &'a Server,
        publication: &'a Publication,
        clock: Clock,
        streams: Streams,
        publishers: Publishers,
        tally: Tally,
        watch: &'a Watch,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            server,
            publication,
            poll: Poll::new().context("cannot wait for sockets")?,
            events: Events::with_capacity(EVENTS),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            body: Vec::new(),
            clock,
            streams,
            publishers,
            tally,
            next: 0,
            watch,
        })
    }

    /// Opens these streams, from `place` on if it is given. Between two looks at them it calls `meanwhile`, which says
    /// how soon it wants to be called again. Ends when each of them is open or has failed.
    pub(super) fn open(
        &mut self,
        numbers: std::ops::Range<usize>,
        place: Option<&str>,
        mut meanwhile: impl FnMut(&mut Self) -> anyhow::Result<Duration>,
    ) -> anyhow::Result<()> {
        let settled = |streams: &Streams| streams.opened() + streams.failed;
        let all = settled(&self.streams) + numbers.len() as u64;
        let mut waiting = numbers;
        let mut progress = (settled(&self.streams), Instant::now());
        self.watch.progress.begin("opening", all);
        while settled(&self.streams) < all {
            let room = self.streams.has_room();
            for number in waiting.by_ref().take(if room { OPENED_AT_ONCE } else { 0 }) {
                let request = self.server.stream_request(number, place);
                let (registry, now) = (self.poll.registry(), self.clock.now());
                self.streams.open(number, request, registry, now)?;
            }
            let can_open = !waiting.is_empty() && self.streams.has_room();
            let wait = meanwhile(self)?.min(GLANCE);
            self.turn(if can_open { Duration::ZERO } else { wait })?;
            let now_settled = settled(&self.streams);
            if now_settled > progress.0 {
                progress = (now_settled, Instant::now());
                self.watch.progress.at(now_settled);
            } else if progress.1.elapsed() > OPENING_PATIENCE {
                let open = self.streams.open;
                let seconds = OPENING_PATIENCE.as_secs();
                anyhow::bail!("only {open} of {all} streams were opened: for {seconds} s none was");
            }
        }
        Ok(())
    }

    pub(super) fn connect_publishers(&mut self) -> anyhow::Result<()> {
        self.publishers.connect(self.poll.registry())
    }

    /// Only looks at what comes, for so long.
    pub(super) fn quiet(&mut self, duration: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while let Some(left) = duration
            .checked_sub(begun.elapsed())
            .filter(|it| !it.is_zero())
        {
            self.turn(left.min(GLANCE))?;
        }
        Ok(())
    }

    /// Publishes for so long; what begins after the warm-up is measured. `measured` is called when it begins.
    pub(super) fn publish(
        &mut self,
        publishing: Publishing,
        warmup: Duration,
        duration: Duration,
        mut measured: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let begun = self.clock.now();
        let measure = begun + nanos(warmup);
        let end = measure + nanos(duration);
        self.watch
            .progress
            .begin("publishing", nanos(warmup + duration));
        let mut schedule = Schedule::new(publishing, begun).until(end);
        self.tally.measure_from(measure);
        let mut is_measured = false;
        loop {
            let now = self.clock.now();
            if now >= measure && !is_measured {
                is_measured = true;
                measured()?;
                self.tally.begin();
            }
            if now >= end {
                return Ok(());
            }
            self.watch.progress.at(now - begun);
            let wait = self.publish_due(&mut schedule)?;
            self.turn(wait.min(GLANCE))?;
        }
    }

    /// Publishes what is due, as far as there are publishers for it; how long it may be until the next is.
    pub(super) fn publish_due(&mut self, schedule: &mut Schedule) -> anyhow::Result<Duration> {
        while let Some(publisher) = self.publishers.free() {
            let now = self.clock.now();
            let moment = match schedule.due(now, &self.tally, self.streams.len()) {
                Due::Now(moment) => moment,
                Due::In(wait) => return Ok(wait),
                Due::Later => return Ok(GLANCE),
            };
            self.publish_one(publisher, moment, schedule.batch())?;
            schedule.advance();
        }
        // An answer ends the poll.
        Ok(GLANCE)
    }

    /// Publishes by `schedule` until so many of what was missed have come, or nothing does for `patience`.
    pub(super) fn catch_up(
        &mut self,
        schedule: &mut Schedule,
        missed: u64,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let mut progress = (self.tally.resumed, Instant::now());
        self.watch.progress.begin("catching up", missed);
        while self.tally.resumed < missed {
            if self.tally.resumed > progress.0 {
                progress = (self.tally.resumed, Instant::now());
                self.watch.progress.at(self.tally.resumed);
            } else if progress.1.elapsed() > patience {
                return Ok(());
            }
            let wait = self.publish_due(schedule)?;
            self.turn(wait.min(GLANCE))?;
        }
        Ok(())
    }

    /// Publishes so many messages to everyone, in as large batches as one may, and waits until they are taken.
    pub(super) fn fill(&mut self, messages: u64, batch: u64) -> anyhow::Result<()> {
        self.watch
            .progress
            .begin("publishing what is missed", messages);
        let mut left = messages;
        while left > 0 || !self.publishers.are_all_free() {
            if left > 0
                && self.publishers.are_all_free()
                && let Some(publisher) = self.publishers.free()
            {
                let count = left.min(batch);
                self.publish_one(publisher, self.clock.now(), count)?;
                left -= count;
            }
            self.turn(GLANCE)?;
            self.watch.progress.at(messages - left);
            if let Some(refusal) = &self.tally.refusal {
                anyhow::bail!("what is to be missed is refused: {refusal}");
            }
        }
        Ok(())
    }

    fn publish_one(&mut self, publisher: usize, moment: u64, count: u64) -> anyhow::Result<()> {
        let mark = marks::number(moment, publisher);
        let (publication, first) = (self.publication, self.next);
        self.body.clear();
        let mut fill = Fill::default();
        for n in first..first + count {
            fill = Fill {
                i: self.tally.target(n),
                n,
                mark: Some(mark),
                ..self.server.fill()
            };
            if n > first {
                self.body.push(b',');
            }
            publication.body.render(&mut self.body, &fill);
        }
        let as_batch = count > 1;
        if as_batch {
            self.body.insert(0, b'[');
            self.body.push(b']');
        }
        let request = self.publishers.request(publisher);
        let template = if as_batch {
            &publication.batch
        } else {
            &publication.single
        };
        template.render_with(request, &fill, &self.body);
        self.next += count;
        let sent = Sent {
            first,
            count,
            moment,
        };
        let (registry, now) = (self.poll.registry(), self.clock.now());
        self.publishers
            .send(publisher, sent, registry, now, &mut self.tally)
    }

    /// Waits for what is still to come, as long as something comes at least every `settle`.
    pub(super) fn settle(&mut self, settle: Duration) -> anyhow::Result<()> {
        let mut progress = (self.tally.arrived, Instant::now());
        self.watch
            .progress
            .begin("waiting for the rest", self.tally.due);
        while !(self.tally.is_complete() && self.publishers.are_all_free()) {
            if self.tally.arrived > progress.0 {
                progress = (self.tally.arrived, Instant::now());
                self.watch.progress.at(self.tally.arrived);
            } else if progress.1.elapsed() > settle {
                return Ok(());
            }
            self.turn(GLANCE)?;
        }
        Ok(())
    }

    /// Waits until something comes, at most so long, and takes it.
    fn turn(&mut self, wait: Duration) -> anyhow::Result<()> {
        self.watch.interrupt.check()?;
        // The poll counts in whole milliseconds and rounds up: what is due earlier is awaited awake.
        let wait = Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            polled => polled.context("cannot wait for sockets")?,
        }
        // What the poll tells of had come by now. That this thread then reads one stream after the other is not the server's doing.
        let now = self.clock.now();
        for event in &self.events {
            let (buffer, tally) = (&mut self.buffer, &mut self.tally);
            match event.token() {
                Token(stream) if stream < self.streams.len() => {
                    let registry = self.poll.registry();
                    self.streams.ready(event, registry, buffer, now, tally);
                }
                Token(_) => {
                    let clock = || self.clock.now();
                    self.publishers.ready(event, buffer, clock, tally)?;
                }
            }
        }
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
