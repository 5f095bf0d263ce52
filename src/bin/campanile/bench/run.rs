//! One run, from the first stream to the report.

use std::time::Duration;

use anyhow::Context;

use super::load::{Load, Watch};
use super::marks::Clock;
use super::options::{Args, Work};
use super::publishers::Publishers;
use super::report::{Latency, Report, Resume, ServerUse};
use super::schedule::{Pace, Schedule};
use super::server::{Publication, Server};
use super::streams::Streams;
use super::tally::{Audience, Tally};
use super::usage::Usage;

/// Streams that stay while all others come back, and get the live notifications in turn.
pub(super) const BYSTANDERS: usize = 20;
/// So many notifications go into a request of those that are to be missed.
const FILL_BATCH: u64 = 500;

/// What is run, and against what.
pub(super) struct Run<'a> {
    args: &'a Args,
    server: &'a Server,
    watch: &'a Watch,
    clock: Clock,
    began: u64,
    streams: usize,
    before: Option<Usage>,
    connected: Option<Usage>,
    connect_seconds: f64,
}

impl<'a> Run<'a> {
    pub(super) fn new(args: &'a Args, server: &'a Server, watch: &'a Watch) -> Self {
        let clock = Clock::start();
        Self {
            args,
            server,
            watch,
            clock,
            began: clock.now(),
            streams: args.streams as usize,
            before: None,
            connected: None,
            connect_seconds: 0.0,
        }
    }

    pub(super) fn report(mut self) -> anyhow::Result<Report> {
        match self.args.work {
            Work::Broadcast | Work::Role | Work::User => self.publishing(),
            Work::Connect => self.connecting(),
            Work::Resume => self.resuming(),
        }
    }

    fn publishing(&mut self) -> anyhow::Result<Report> {
        let args = self.args;
        let mut load = self.load(&self.server.publication, self.audience(), self.streams)?;
        self.open_all(&mut load)?;
        let mut begun = Used::default();
        load.publish(args.publishing(), args.warmup, args.seconds, || {
            begun = Used::now(self.server)?;
            Ok(())
        })?;
        let begin = load.tally.since;
        load.settle(args.settle)?;
        let after = Used::now(self.server)?;
        // Nothing may have come at all.
        let end = load.tally.last_arrival.max(begin + 1);
        self.finished(&load, (end - begin) as f64 / 1e9, begun, after)
    }

    fn audience(&self) -> Audience {
        let other = &self.args.other;
        match (self.args.work, other.per) {
            (_, Some(per)) if per != self.streams as u64 || self.args.work != Work::Broadcast => {
                Audience::Unknown(per)
            }
            (Work::Role, _) => Audience::Roles(self.args.roles as usize),
            (Work::User, _) if other.are_given() => Audience::Unknown(1),
            (Work::User, _) => Audience::Users {
                first: 0,
                count: self.streams,
            },
            _ => Audience::Everyone,
        }
    }

    fn connecting(&mut self) -> anyhow::Result<Report> {
        let mut load = self.load(&self.server.publication, Audience::Everyone, self.streams)?;
        let begun = Used::now(self.server)?;
        self.before = begun.server;
        let begin = self.clock.now();
        load.open(0..self.streams, None, |_| Ok(Duration::MAX))?;
        self.connect_seconds = (self.clock.now() - begin) as f64 / 1e9;
        let opened = Used::now(self.server)?;
        load.quiet(self.args.idle)?;
        self.connected = Usage::of(&self.server.processes)?;
        let mut report = self.finished(&load, self.connect_seconds, begun, opened)?;
        let open = load.streams.opened();
        report.latency_micros = Latency::from(&load.streams.openings);
        report.expected = self.streams as u64;
        report.delivered = open;
        report.deliveries_per_second = open as f64 / self.connect_seconds;
        report.refused = load.streams.failed;
        report.refusal = load.streams.failure.clone();
        report.wire_bytes_per_delivery = 0.0;
        if let Some(server) = &mut report.server {
            server.cpu_micros_per_delivery = server.cpu_seconds * 1e6 / (open as f64).max(1.0);
        }
        Ok(report)
    }

    fn resuming(&mut self) -> anyhow::Result<Report> {
        let (streams, missed) = (self.streams, u64::from(self.args.missed));
        let place = self.miss(missed)?;
        let audience = Audience::Users {
            first: streams,
            count: BYSTANDERS,
        };
        let mut load = self.load(&self.server.publication, audience, streams + BYSTANDERS)?;
        load.open(streams..streams + BYSTANDERS, None, |_| Ok(Duration::MAX))?;
        all_open(&load)?;
        // Those who publish are there as well before the others come.
        load.connect_publishers()?;
        let live = self.args.publishing();
        load.publish(live, self.args.warmup, Duration::ZERO, || Ok(()))?;
        load.settle(self.args.settle)?;
        load.quiet(self.args.idle)?;

        let begun = Used::now(self.server)?;
        self.before = begun.server;
        let begin = self.clock.now();
        load.tally.missed(streams, missed);
        load.tally.measure_from(begin);
        let mut live = Schedule::new(live, begin);
        load.open(0..streams, Some(&place), |load| load.publish_due(&mut live))?;
        all_open(&load)?;
        self.connect_seconds = (self.clock.now() - begin) as f64 / 1e9;
        load.catch_up(&mut live, streams as u64 * missed, self.args.settle)?;
        self.connected = Usage::of(&self.server.processes)?;
        load.settle(self.args.settle)?;
        let after = Used::now(self.server)?;

        let resumed_at = load.tally.last_resumed.max(begin + 1);
        let resume_seconds = (resumed_at - begin) as f64 / 1e9;
        let wall = load.tally.last_arrival.max(resumed_at) - begin;
        let mut report = self.finished(&load, wall as f64 / 1e9, begun, after)?;
        report.expected += streams as u64 * missed;
        report.delivered += load.tally.resumed;
        report.deliveries_per_second = report.delivered as f64 / report.wall_seconds;
        report.resume = Some(Resume {
            resume_seconds,
            resumed_deliveries: load.tally.resumed,
        });
        if let Some(server) = &mut report.server {
            server.cpu_micros_per_delivery =
                server.cpu_seconds * 1e6 / report.delivered.max(1) as f64;
        }
        Ok(report)
    }

    /// Publishes what is to be missed; the place before it.
    fn miss(&self, missed: u64) -> anyhow::Result<String> {
        let publication = self.server.missed.as_ref().context("no hub can be asked")?;
        let mut load = self.load(publication, Audience::Everyone, 1)?;
        load.open(0..1, None, |_| Ok(Duration::MAX))?;
        all_open(&load)?;
        let place = load
            .streams
            .place
            .take()
            .context("the hub gave no place to come back to")?;
        load.fill(missed, FILL_BATCH)?;
        load.settle(self.args.settle)?;
        anyhow::ensure!(
            load.tally.is_complete(),
            "what is to be missed was not delivered to one who was there"
        );
        Ok(place)
    }

    fn load(
        &self,
        publication: &'a Publication,
        audience: Audience,
        streams: usize,
    ) -> anyhow::Result<Load<'a>> {
        let publishers = self.args.publishers();
        let server = self.server;
        Load::new(
            server,
            publication,
            self.clock,
            Streams::new(server.streams_at, server.welcome, streams, publishers),
            Publishers::new(server.publish_at, publishers, streams),
            Tally::new(audience, streams, self.began),
            self.watch,
        )
    }

    /// Opens all streams, and notes what the server uses before and after.
    fn open_all(&mut self, load: &mut Load<'a>) -> anyhow::Result<()> {
        self.before = Usage::of(&self.server.processes)?;
        let begin = self.clock.now();
        load.open(0..self.streams, None, |_| Ok(Duration::MAX))?;
        self.connect_seconds = (self.clock.now() - begin) as f64 / 1e9;
        all_open(load)?;
        load.connect_publishers()?;
        load.quiet(self.args.idle)?;
        self.connected = Usage::of(&self.server.processes)?;
        Ok(())
    }

    /// What there is to say of any work; `begun` and `after` is what the server had used then.
    fn finished(
        &self,
        load: &Load<'a>,
        wall_seconds: f64,
        begun: Used,
        after: Used,
    ) -> anyhow::Result<Report> {
        let (args, tally, streams) = (self.args, &load.tally, &load.streams);
        let publishing = args.publishing();
        let (window, rate) = match publishing.pace {
            _ if args.work == Work::Connect => (None, None),
            Pace::Saturated { window } => (Some(window), None),
            Pace::Rated { per_second } => (None, Some(per_second)),
        };
        let (lost, unexpected) = tally.missing_and_surplus(streams.seen());
        let delivered = tally.delivered;
        let usage = (self.before, self.connected, begun.server, after.server);
        let server = match usage {
            (Some(before), Some(connected), Some(begun), Some(after)) => {
                let cpu_seconds = after.cpu_seconds - begun.cpu_seconds;
                let grown = connected.resident_bytes as f64 - before.resident_bytes as f64;
                Some(ServerUse {
                    cpu_seconds,
                    cpu_micros_per_delivery: cpu_seconds * 1e6 / delivered.max(1) as f64,
                    resident_before: before.resident_bytes,
                    resident_connected: connected.resident_bytes,
                    resident_after: after.resident_bytes,
                    bytes_per_stream: grown / self.streams as f64,
                })
            }
            _ => None,
        };
        Ok(Report {
            work: args.work,
            streams: self.streams,
            publishers: args.publishers(),
            window,
            rate,
            batch: publishing.batch,
            seconds: args.seconds.as_secs_f64(),
            connect_seconds: self.connect_seconds,
            published: tally.published,
            refused: tally.refused,
            expected: tally.expected,
            delivered,
            lost,
            unexpected,
            out_of_order: tally.out_of_order,
            closed: streams.closed,
            wall_seconds,
            deliveries_per_second: delivered as f64 / wall_seconds,
            publishes_per_second: tally.published as f64 / wall_seconds,
            latency_micros: (&tally.latency).into(),
            answer_micros: (&tally.answers).into(),
            server,
            load_cpu_seconds: load_cpu(begun, after),
            wire_bytes_per_delivery: tally.bytes as f64 / tally.marks.max(1) as f64,
            resume: None,
            refusal: tally.refusal.clone(),
        })
    }
}

/// What the server has used by now, and the load itself.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    server: Option<Usage>,
    load: Option<Usage>,
}

impl Used {
    fn now(server: &Server) -> anyhow::Result<Self> {
        Ok(Self {
            server: Usage::of(&server.processes)?,
            // Not every system tells.
            load: Usage::of(&[std::process::id()]).unwrap_or_default(),
        })
    }
}

fn load_cpu(begun: Used, after: Used) -> Option<f64> {
    let (begun, after) = begun.load.zip(after.load)?;
    Some(((after.cpu_seconds - begun.cpu_seconds) * 1e3).round() / 1e3)
}

/// Nothing can be said of a load without all of its streams.
fn all_open(load: &Load<'_>) -> anyhow::Result<()> {
    let (failed, open) = (load.streams.failed, load.streams.open);
    let all = open as u64 + failed + load.streams.closed;
    if open as u64 == all {
        return Ok(());
    }
    match &load.streams.failure {
        Some(failure) => {
            anyhow::bail!("{failed} of {all} streams were not opened; the first: {failure}")
        }
        None => anyhow::bail!("{} of {all} streams were closed again", load.streams.closed),
    }
}
