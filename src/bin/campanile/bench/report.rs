//! What came out: one object for programs, a few lines for people.

use std::fmt::Write;

use serde::{Serialize, Serializer};

use super::histogram::Histogram;
use super::options::Work;

/// Of its one core, from where on the load may be what holds up the deliveries.
const LOAD_AT_ITS_LIMIT: f64 = 0.9;

/// The result of a run. Times are in seconds or microseconds, sizes in bytes, as the names say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) work: Work,
    pub(super) streams: usize,
    pub(super) publishers: usize,
    pub(super) window: Option<u64>,
    pub(super) rate: Option<f64>,
    pub(super) batch: u64,
    #[serde(serialize_with = "rounded")]
    pub(super) seconds: f64,
    #[serde(serialize_with = "rounded")]
    pub(super) connect_seconds: f64,
    pub(super) published: u64,
    /// Notifications, and streams, that were not taken.
    pub(super) refused: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    /// Deliveries that nobody was to have: doubled, or to the wrong stream.
    pub(super) unexpected: u64,
    pub(super) out_of_order: u64,
    pub(super) closed: u64,
    #[serde(serialize_with = "rounded")]
    pub(super) wall_seconds: f64,
    #[serde(serialize_with = "rounded")]
    pub(super) deliveries_per_second: f64,
    #[serde(serialize_with = "rounded")]
    pub(super) publishes_per_second: f64,
    pub(super) latency_micros: Latency,
    pub(super) answer_micros: Answers,
    pub(super) server: Option<ServerUse>,
    /// What the load itself used: near a core, it is what was measured.
    pub(super) load_cpu_seconds: Option<f64>,
    #[serde(serialize_with = "rounded")]
    pub(super) wire_bytes_per_delivery: f64,
    #[serde(flatten)]
    pub(super) resume: Option<Resume>,
    /// What was said to the first that was refused, for people.
    #[serde(skip)]
    pub(super) refusal: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Latency {
    #[serde(serialize_with = "rounded")]
    p50: f64,
    #[serde(serialize_with = "rounded")]
    p90: f64,
    #[serde(serialize_with = "rounded")]
    p99: f64,
    #[serde(serialize_with = "rounded")]
    p999: f64,
    #[serde(serialize_with = "rounded")]
    max: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Answers {
    #[serde(serialize_with = "rounded")]
    p50: f64,
    #[serde(serialize_with = "rounded")]
    p99: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerUse {
    #[serde(serialize_with = "rounded")]
    pub(super) cpu_seconds: f64,
    #[serde(serialize_with = "rounded")]
    pub(super) cpu_micros_per_delivery: f64,
    pub(super) resident_before: u64,
    pub(super) resident_connected: u64,
    pub(super) resident_after: u64,
    #[serde(serialize_with = "rounded")]
    pub(super) bytes_per_stream: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resume {
    #[serde(serialize_with = "rounded")]
    pub(super) resume_seconds: f64,
    pub(super) resumed_deliveries: u64,
}

/// Digits beyond the third after the point say nothing.
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 1e3).round() / 1e3)
}

impl From<&Histogram> for Latency {
    fn from(of: &Histogram) -> Self {
        Self {
            p50: of.micros(0.5),
            p90: of.micros(0.9),
            p99: of.micros(0.99),
            p999: of.micros(0.999),
            max: of.max_micros(),
        }
    }
}

impl From<&Histogram> for Answers {
    fn from(of: &Histogram) -> Self {
        Self {
            p50: of.micros(0.5),
            p99: of.micros(0.99),
        }
    }
}

impl Report {
    /// What went wrong, if anything did.
    pub(super) fn problem(&self) -> Option<String> {
        let counts = [
            (self.lost, "lost"),
            (self.unexpected, "delivered twice or to the wrong stream"),
            (self.out_of_order, "out of order"),
            (self.refused, "refused"),
            (self.closed, "streams closed"),
        ];
        let wrong = counts.iter().filter(|(count, _)| *count > 0);
        let wrong: Vec<String> = wrong
            .map(|(count, what)| format!("{} {what}", grouped(*count as f64)))
            .collect();
        if wrong.is_empty() {
            return None;
        }
        let mut problem = wrong.join(", ");
        if let Some(refusal) = &self.refusal {
            let _ = write!(problem, "; the first refusal: {refusal}");
        }
        Some(problem)
    }

    /// The lines for people.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![("streams", self.opened())];
        match self.work {
            Work::Connect => rows.push(("until one is open", times(&self.latency_micros))),
            Work::Resume => {
                rows.extend(
                    self.resume
                        .as_ref()
                        .map(|it| ("caught up", self.caught_up(it))),
                );
                rows.push(("meanwhile, live", times(&self.latency_micros)));
            }
            Work::Broadcast | Work::Role | Work::User => {
                rows.push(("notifications", self.publishes()));
                rows.push((
                    "deliveries",
                    self.rate_of(self.delivered, self.deliveries_per_second),
                ));
                rows.push(("latency", times(&self.latency_micros)));
                let answers = &self.answer_micros;
                let (p50, p99) = (duration(answers.p50), duration(answers.p99));
                rows.push(("answers", format!("median {p50}, 99 % within {p99}")));
            }
        }
        match &self.server {
            Some(server) => {
                rows.push(("server's CPU", self.cpu(server)));
                rows.push(("server's memory", memory(server)));
            }
            None => rows.push((
                "server's use",
                "not told: --pid says which process to look at".to_owned(),
            )),
        }
        if let Some(seconds) = self.load_cpu_seconds {
            rows.push(("load's CPU", load_cpu(self.cores(seconds))));
        }
        let fine = "nothing lost, doubled, out of order, refused or closed".to_owned();
        rows.push(("outcome", self.problem().unwrap_or(fine)));
        let mut table = String::new();
        for (name, value) in rows {
            let _ = writeln!(table, "{name:<18} {value}");
        }
        table
    }

    fn opened(&self) -> String {
        let all = grouped(self.streams as f64);
        let after = duration(self.connect_seconds * 1e6);
        if self.work == Work::Connect && self.delivered < self.streams as u64 {
            let open = grouped(self.delivered as f64);
            return format!("{all}, of which {open} were open after {after}");
        }
        format!("{all}, all open after {after}")
    }

    fn caught_up(&self, resume: &Resume) -> String {
        let Resume {
            resume_seconds,
            resumed_deliveries,
        } = resume;
        let rate = *resumed_deliveries as f64 / resume_seconds.max(1e-9);
        format!(
            "after {}: {} deliveries, {} a second",
            duration(resume_seconds * 1e6),
            grouped(*resumed_deliveries as f64),
            grouped(rate)
        )
    }

    fn publishes(&self) -> String {
        let told = self.rate_of(self.published, self.publishes_per_second);
        match self.rate {
            // What was due before the end and had no publisher free for it was not sent.
            Some(rate) if (self.published as f64) < 0.95 * rate * self.seconds - 1.0 => {
                format!(
                    "{told}: not the {rate} asked for; more --publishers, or a server that keeps up"
                )
            }
            _ => told,
        }
    }

    fn rate_of(&self, count: u64, rate: f64) -> String {
        format!(
            "{} a second ({} in {})",
            grouped(rate),
            grouped(count as f64),
            duration(self.wall_seconds * 1e6)
        )
    }

    fn cpu(&self, server: &ServerUse) -> String {
        let per = match self.work {
            Work::Connect => "stream",
            _ => "delivery",
        };
        let each = duration(server.cpu_micros_per_delivery);
        let share = self.share(server.cpu_seconds);
        format!("{each} a {per}; {share} of a core")
    }

    fn share(&self, cpu_seconds: f64) -> String {
        share(self.cores(cpu_seconds))
    }

    fn cores(&self, cpu_seconds: f64) -> f64 {
        cpu_seconds / self.wall_seconds.max(1e-9)
    }
}

fn share(cores: f64) -> String {
    format!("{:.0} %", cores * 100.0)
}

fn load_cpu(cores: f64) -> String {
    let told = format!("{} of a core", share(cores));
    if cores < LOAD_AT_ITS_LIMIT {
        return told;
    }
    format!("{told}: the load was at its limit, the server may carry more")
}

fn memory(server: &ServerUse) -> String {
    format!(
        "{} before, {} with all streams ({} each), {} at the end",
        size(server.resident_before as f64),
        size(server.resident_connected as f64),
        size(server.bytes_per_stream),
        size(server.resident_after as f64)
    )
}

fn times(latency: &Latency) -> String {
    let Latency {
        p50,
        p90,
        p99,
        p999,
        max,
    } = latency;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(|micros| duration(*micros));
    format!("median {p50}; 90 % within {p90}, 99 % {p99}, 99.9 % {p999}, all {max}")
}

/// Three digits of it.
fn duration(micros: f64) -> String {
    let (value, unit) = match micros {
        ..1e3 => (micros, "µs"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

fn size(bytes: f64) -> String {
    let (value, unit) = match bytes.abs() {
        ..1e3 => (bytes, "B"),
        ..1e6 => (bytes / 1e3, "kB"),
        ..1e9 => (bytes / 1e6, "MB"),
        _ => (bytes / 1e9, "GB"),
    };
    format!("{} {unit}", three_digits(value))
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// A whole number with commas.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < -0.5 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_people_say_them() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(-1_000.0), "-1,000");
        assert_eq!(duration(0.85), "0.85 µs");
        assert_eq!(duration(12_345.0), "12.3 ms");
        assert_eq!(duration(999_999.0), "1,000 ms");
        assert_eq!(size(24_000.0), "24.0 kB");
    }

    #[test]
    fn a_load_that_had_no_time_left_says_that_it_was_the_limit() {
        assert_eq!(load_cpu(0.69), "69 % of a core");
        assert_eq!(
            load_cpu(0.97),
            "97 % of a core: the load was at its limit, the server may carry more"
        );
    }
}
