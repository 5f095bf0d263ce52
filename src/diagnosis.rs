//! What is wrong with the queue, and what to type next.
//!
//! The store reads [`Facts`] in one snapshot, each at a bounded cost; [`Diagnosis::of`] decides what they mean and is
//! pure, so that the rules can be read here and tested as rules about numbers. `campanile queue diagnose` and
//! `GET /queue/diagnosis` tell the same. Four findings are alerts, because somebody has to come: work that somebody took
//! upon themselves and never finished, recipients who failed in numbers, what is scheduled and not released when it is due,
//! and a store that contradicts itself. What is only worth a look by day is advice.

mod doubles;
mod facts;
mod findings;
mod words;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::doubles::{Accepted, doubles};
pub use self::facts::{
    Addressee, Broken, Counter, Counts, Deep, DiagnosisQuery, Double, Facts, Failed, Listed,
    Overdue, Queue, Rule, Stuck,
};
pub use self::words::age;

/// How long a claim holds; whoever has not settled it by then has stopped half way.
pub const LEASE: Duration = Duration::from_mins(10);
/// From here on a claim that nobody settled is an alert.
pub const STUCK_ALERT: Duration = Duration::from_mins(30);
/// How far back failures, caught duplicates and likely doubles are looked for.
pub const WINDOW: Duration = Duration::from_hours(24);
/// How many recipients may fail in that time before it is an alert.
pub const MAX_FAILED: u64 = 10;
/// How long the oldest entry may wait for the fan-out before it is worth a word.
pub const QUEUED_ADVICE: Duration = Duration::from_mins(1);
/// The most rows of each kind that are named; the others are only counted.
pub const MAX_NAMED: usize = 20;
/// The most rows of a kind that are looked at, if nobody asked to go deep.
pub const MAX_LOOKED: u64 = 100_000;
/// The most entries among which likely doubles are looked for, the newest.
pub const MAX_COMPARED: usize = 10_000;
/// The most bytes of bodies that are read for that.
pub const MAX_COMPARED_BYTES: usize = 32 * 1024 * 1024;
/// What was due so long ago and is still held back is overdue: a hub releases to the second.
pub const OVERDUE: Duration = Duration::from_mins(1);
/// How close together two that say the same are likely the same.
pub const DOUBLE_WITHIN: Duration = Duration::from_mins(1);
/// From this number on a prefix's counter is near the last one of four digits, 9999.
pub const NEAR_THE_LAST_NUMBER: u64 = 9_000;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Worth a look by day.
    Advice,
    /// Somebody has to come.
    Alert,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Whether the store contradicts itself.
    Invariants,
    /// Whether the file is whole.
    File,
    /// Whether claimed work was finished.
    Stuck,
    /// Who failed.
    Failed,
    /// Whether the log gets through the fan-out.
    Queue,
    /// Whether what is scheduled is released when it is due.
    Schedule,
    /// What was likely sent twice.
    Doubles,
    /// Whether references run out of digits.
    References,
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How much it matters.
    pub severity: Severity,
    /// What is the matter, in a sentence.
    pub says: String,
    /// What to type or to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What is wrong, and what it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// That of the worst finding.
    pub severity: Severity,
    /// Whether a hub serves the store.
    pub running: bool,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What they were read from.
    #[serde(flatten)]
    pub facts: Facts,
}

impl Diagnosis {
    /// What these facts mean, where a hub serves the store (`running`) or none does.
    pub fn of(facts: Facts, running: bool) -> Self {
        let mut findings = findings::of(&facts, running);
        // Stable: among equals the order of the checks is kept.
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let severity = findings.first().map_or(Severity::Fine, |f| f.severity);
        Self {
            severity,
            running,
            findings,
            facts,
        }
    }
}
