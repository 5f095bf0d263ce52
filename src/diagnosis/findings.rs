//! The rules: when a fact is an alert, when it is advice, and what to do about it.

use super::words::{age, so_many};
use super::{
    Broken, Check, DOUBLE_WITHIN, Facts, Finding, LEASE, MAX_COMPARED, MAX_FAILED, MAX_LOOKED,
    NEAR_THE_LAST_NUMBER, QUEUED_ADVICE, Rule, STUCK_ALERT, Severity,
};

/// The last number that has four digits.
const LAST_OF_FOUR_DIGITS: u64 = 9_999;

/// What is left to do with a file that cannot be trusted. What it held is moved aside by that.
const PUT_BACK: &str = "stop the hub, then: campanile restore --force <the last backup>";

/// What each check came to, in a fixed order.
pub(super) fn of(facts: &Facts, running: bool) -> Vec<Finding> {
    let mut findings = invariants(facts);
    findings.extend(file(facts));
    findings.push(stuck(facts, running));
    findings.push(failed(facts));
    findings.push(queue(facts, running));
    findings.push(schedule(facts, running));
    findings.push(doubles(facts));
    findings.push(references(facts));
    findings
}

fn fine(check: Check, says: impl Into<String>) -> Finding {
    Finding {
        check,
        severity: Severity::Fine,
        says: says.into(),
        next: None,
    }
}

fn found(check: Check, severity: Severity, says: String, next: impl Into<String>) -> Finding {
    Finding {
        check,
        severity,
        says,
        next: Some(next.into()),
    }
}

/// One for each rule that is broken.
fn invariants(facts: &Facts) -> Vec<Finding> {
    if facts.broken.is_empty() {
        return vec![fine(
            Check::Invariants,
            "the store contradicts itself nowhere",
        )];
    }
    let next = match &facts.deep {
        None => "campanile queue diagnose --deep",
        Some(_) => PUT_BACK,
    };
    let broken = facts.broken.iter();
    broken
        .map(|broken| found(Check::Invariants, Severity::Alert, in_words(broken), next))
        .collect()
}

fn in_words(
    Broken {
        rule,
        count,
        example,
    }: &Broken,
) -> String {
    match rule {
        Rule::SettledWithinTheLog => {
            format!("more is settled than there is in the log ({example})")
        }
        Rule::NoEntryPastTheHead => {
            let entries = so_many(*count, "entry lies", "entries lie");
            format!("{entries} past the head of the log ({example})")
        }
        Rule::DeliveriesHaveEntries => {
            let rows = so_many(*count, "delivery is", "deliveries are");
            format!("{rows} of entries that are not in the log ({example})")
        }
        Rule::KeysHaveEntries => {
            let rows = so_many(*count, "recipient is", "recipients are");
            format!("{rows} kept for entries that are not in the log ({example})")
        }
        Rule::CountersAreRight => {
            let counters = so_many(*count, "counter is", "counters are");
            format!("{counters} wrong ({example})")
        }
        Rule::OnlyOwedIsClaimed => {
            let rows = so_many(*count, "recipient is", "recipients are");
            format!("{rows} claimed who are not owed anything ({example})")
        }
    }
}

/// Only where somebody asked for the file to be looked at.
fn file(facts: &Facts) -> Option<Finding> {
    let deep = facts.deep.as_ref()?;
    Some(match (deep.damage.as_slice(), deep.finished) {
        ([], true) => fine(Check::File, "every page of the file was read, and is whole"),
        ([], false) => found(
            Check::File,
            Severity::Advice,
            "the file was not looked at to its end: there was no time for it".to_owned(),
            "stop the hub, then: campanile queue diagnose --deep",
        ),
        ([first, more @ ..], _) => {
            let more = match more.len() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            found(
                Check::File,
                Severity::Alert,
                format!("the file is damaged: {first}{more}"),
                PUT_BACK,
            )
        }
    })
}

fn stuck(facts: &Facts, running: bool) -> Finding {
    let oldest = facts.stuck.first.iter().map(|stuck| stuck.since).min();
    let Some(oldest) = oldest else {
        let says = if running {
            format!("nothing has been processing for longer than {}", age(LEASE))
        } else {
            "nothing was left half done".to_owned()
        };
        return fine(Check::Stuck, says);
    };
    let longest = facts.at.since(oldest);
    let severity = if longest > STUCK_ALERT {
        Severity::Alert
    } else {
        Severity::Advice
    };
    let recipients = so_many(facts.stuck.count, "recipient", "recipients");
    let has = if facts.stuck.count == 1 {
        "has"
    } else {
        "have"
    };
    if running {
        let says = format!(
            "{recipients} {has} been processing for longer than {}, the first for {}",
            age(LEASE),
            age(longest)
        );
        return found(Check::Stuck, severity, says, "campanile queue unlock");
    }
    let says = format!(
        "{recipients} {has} been left half done by a hub that has ended, the first {} ago; the next start takes them up",
        age(longest)
    );
    found(Check::Stuck, severity, says, "campanile serve")
}

fn failed(facts: &Facts) -> Finding {
    let count = facts.failed.count;
    let recipients = if count < MAX_LOOKED {
        so_many(count, "recipient", "recipients")
    } else {
        format!("at least {MAX_LOOKED} recipients")
    };
    let says = format!("{recipients} failed in the last 24 h");
    match facts.failed.first.first() {
        Some(first) if count > MAX_FAILED => found(
            Check::Failed,
            Severity::Alert,
            format!("{says}; up to {MAX_FAILED} are no cause for alarm"),
            format!("campanile why {}", first.notification_id),
        ),
        _ => fine(Check::Failed, says),
    }
}

fn schedule(facts: &Facts, running: bool) -> Finding {
    let Some(since) = facts.overdue.since else {
        return fine(Check::Schedule, "nothing that is scheduled is overdue");
    };
    let (are, late) = (
        so_many(
            facts.overdue.count,
            "scheduled notification is",
            "scheduled notifications are",
        ),
        age(facts.at.since(since)),
    );
    if running {
        let says = format!("{are} overdue, the first by {late}");
        let next = "look into the hub's log for \"could not be released\" and store_unavailable";
        return found(Check::Schedule, Severity::Alert, says, next);
    }
    let says = format!("{are} due, the first since {late}; the next start releases them");
    found(Check::Schedule, Severity::Advice, says, "campanile serve")
}

fn queue(facts: &Facts, running: bool) -> Finding {
    let depth = facts.queue.depth();
    let waited = facts.queue.oldest_at.map(|moment| facts.at.since(moment));
    let waited = waited.filter(|waited| depth > 0 && *waited > QUEUED_ADVICE);
    let Some(waited) = waited else {
        return fine(Check::Queue, "the log is through the fan-out");
    };
    let entries = so_many(depth, "entry waits", "entries wait");
    let says = format!("{entries} for the fan-out, the first for {}", age(waited));
    let next = if running {
        "look into the hub's log for store_unavailable and stream_thread_ended"
    } else {
        "campanile serve"
    };
    found(Check::Queue, Severity::Advice, says, next)
}

fn doubles(facts: &Facts) -> Finding {
    let among = if facts.compared < MAX_COMPARED as u64 {
        format!("among {} of the last 24 h", facts.compared)
    } else {
        format!("among the last {}", facts.compared)
    };
    let Some(first) = facts.doubles.first.first() else {
        return fine(
            Check::Doubles,
            format!("nothing was likely sent twice, {among}"),
        );
    };
    let notifications = match facts.doubles.count {
        1 => "1 notification was".to_owned(),
        count => format!("{count} notifications were"),
    };
    found(
        Check::Doubles,
        Severity::Advice,
        format!(
            "{notifications} likely sent twice ({among}): the same to the same within {} s, without a key",
            DOUBLE_WITHIN.as_secs()
        ),
        format!("have {} send an Idempotency-Key", first.publisher),
    )
}

fn references(facts: &Facts) -> Finding {
    let Some(first) = facts.references.first() else {
        return fine(
            Check::References,
            format!("no reference is past {NEAR_THE_LAST_NUMBER}"),
        );
    };
    let prefixes = match facts.references.len() {
        1 => format!("the references {}-{}", first.prefix, first.month),
        more => format!(
            "the references {}-{} and {} more",
            first.prefix,
            first.month,
            more - 1
        ),
    };
    let says = if first.last > LAST_OF_FOUR_DIGITS {
        format!("{prefixes} have more than four digits: {}", first.last)
    } else {
        format!(
            "{prefixes} have come to {} of {LAST_OF_FOUR_DIGITS}; then they have five digits",
            first.last
        )
    };
    found(
        Check::References,
        Severity::Advice,
        says,
        "see that forms take five digits, or draw under another prefix",
    )
}
