//! A diagnosis, and what was released, for a person at night in 80 columns: what is wrong and what to type come first,
//! numbers after that.

use std::time::Duration;

use campanile::clock::Timestamp;
use campanile::diagnosis::{
    Addressee, Check, Diagnosis, Facts, Finding, MAX_LOOKED, Severity, age,
};
use campanile::waiting::{Unlock, Unlocked};
use uuid::Uuid;

/// How wide a line may be.
const WIDTH: usize = 80;
/// How far what belongs to a finding stands in.
const INDENT: usize = 8;
/// How wide a recipient's column may be.
const MAX_RECIPIENT: usize = 20;

/// A diagnosis. Commands to type name the data directory, if `--data` did.
pub(super) fn diagnosis(diagnosis: &Diagnosis, data: Option<&str>) -> String {
    let facts = &diagnosis.facts;
    let mut text = String::new();
    if !diagnosis.running {
        text.push_str("No hub runs on this store; it was read as it is.\n\n");
    }
    let (fine, wrong): (Vec<&Finding>, Vec<&Finding>) = diagnosis
        .findings
        .iter()
        .partition(|finding| finding.severity == Severity::Fine);
    for finding in wrong {
        let severity = match finding.severity {
            Severity::Alert => "ALERT",
            Severity::Advice | Severity::Fine => "advice",
        };
        text.push_str(&beside(severity, &finding.says));
        if let Some(next) = &finding.next {
            text.push_str(&beside("     ->", &typed(next, data)));
        }
        text.push_str(&rows_of(finding.check, facts));
        text.push('\n');
    }
    for finding in fine {
        text.push_str(&beside("ok", &finding.says));
    }
    text.push('\n');
    text.push_str(&counts(facts));
    text
}

/// A command with the data directory that this one was given; other words as they are.
fn typed(next: &str, data: Option<&str>) -> String {
    match data {
        Some(data) if next.contains("campanile ") => format!("{next} --data {data}"),
        _ => next.to_owned(),
    }
}

/// A word, and a text beside it, wrapped.
fn beside(word: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = format!("{word:INDENT$}");
    let mut words = 0;
    for next in text.split_whitespace() {
        if words > 0 && line.chars().count() + 1 + next.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = " ".repeat(INDENT);
            words = 0;
        }
        if words > 0 {
            line.push(' ');
        }
        line.push_str(next);
        words += 1;
    }
    lines + &line + "\n"
}

/// What a finding is about, one a line.
fn rows_of(check: Check, facts: &Facts) -> String {
    let (rows, count) = match check {
        Check::Stuck => {
            let rows = facts.stuck.first.iter().map(|stuck| {
                let held = facts.at.since(stuck.since);
                let asked = attempts(stuck.attempts);
                (stuck.notification_id, &stuck.recipient, held, asked)
            });
            (table(rows), facts.stuck.count)
        }
        Check::Failed => {
            let rows = facts.failed.first.iter().map(|failed| {
                let ago = facts.at.since(failed.at);
                let reason = failed.reason.as_deref().unwrap_or("nobody took it");
                (
                    failed.notification_id,
                    &failed.recipient,
                    ago,
                    reason.to_owned(),
                )
            });
            (table(rows), facts.failed.count)
        }
        Check::Doubles => {
            let rows: Vec<String> = facts
                .doubles
                .first
                .iter()
                .map(|double| {
                    let (id, times) = (double.notification_id, double.times);
                    line(&format!("{id}  {times} times  {}", double.publisher))
                })
                .collect();
            (rows, facts.doubles.count)
        }
        Check::Invariants | Check::File | Check::Queue | Check::Schedule | Check::References => {
            return String::new();
        }
    };
    let named = rows.len() as u64;
    let mut text = rows.concat();
    if count > named {
        text.push_str(&line(&format!("and {} more", count - named)));
    }
    text
}

/// Notification, recipient, how long, and a remark, which is cut off where the line ends.
fn table<'a>(rows: impl Iterator<Item = (Uuid, &'a Addressee, Duration, String)>) -> Vec<String> {
    let rows: Vec<(Uuid, String, String, String)> = rows
        .map(|(id, recipient, time, remark)| (id, named(recipient), age(time), remark))
        .collect();
    let widest = |column: fn(&(Uuid, String, String, String)) -> &String| {
        let widths = rows.iter().map(|row| column(row).chars().count());
        widths.max().unwrap_or_default()
    };
    let (recipients, times) = (widest(|row| &row.1), widest(|row| &row.2));
    let written = rows.iter().map(|(id, recipient, time, remark)| {
        line(&format!(
            "{id}  {recipient:recipients$}  {time:>times$}  {remark}"
        ))
    });
    written.collect()
}

/// A line that stands in.
fn line(text: &str) -> String {
    format!("  {}\n", cut(text, WIDTH - 2))
}

/// At most so many characters, without any that could move a terminal's cursor.
fn cut(text: &str, width: usize) -> String {
    let mut text = text.replace(char::is_control, " ");
    if text.chars().count() > width {
        text = text.chars().take(width - 1).collect();
        text.push('…');
    }
    text
}

fn named(recipient: &Addressee) -> String {
    let name = match recipient {
        Addressee::User(user) => format!("user {user}"),
        Addressee::Role(role) => format!("role {role}"),
        Addressee::Everyone => "everyone".to_owned(),
    };
    cut(&name, MAX_RECIPIENT)
}

fn attempts(attempts: u32) -> String {
    format!("attempt {attempts}")
}

/// All the numbers.
fn counts(facts: &Facts) -> String {
    let (counts, queue) = (&facts.counts, &facts.queue);
    let ago = |moment: Option<Timestamp>| match moment {
        Some(moment) => format!(", the oldest {} ago", age(facts.at.since(moment))),
        None => String::new(),
    };
    let bounded = |count: u64| {
        if count < MAX_LOOKED {
            count.to_string()
        } else {
            format!("{MAX_LOOKED}+")
        }
    };
    let oldest_owed = ago(counts.oldest_owed_at.filter(|_| counts.pending > 0));
    let depth = queue.depth();
    let oldest = ago(queue.oldest_at.filter(|_| depth > 0));
    let rows = [
        ("pending", format!("{}{oldest_owed}", counts.pending)),
        ("processing", counts.processing.to_string()),
        ("sent later", bounded(counts.sent)),
        (
            "failed",
            format!(
                "{}, {} of them in the last 24 h",
                counts.failed,
                bounded(facts.failed.count)
            ),
        ),
        ("expired", bounded(counts.expired)),
        ("scheduled", counts.scheduled.to_string()),
        ("in the queue", format!("{depth}{oldest}")),
        (
            "stored",
            format!(
                "{} notifications, {} broadcasts",
                counts.notifications, counts.broadcasts
            ),
        ),
        (
            "duplicates",
            format!("{} caught by their keys in the last 24 h", facts.duplicates),
        ),
    ];
    rows.map(|(name, says)| format!("{name:14}{says}\n"))
        .concat()
}

/// What was released, or would be.
pub(super) fn unlocked(
    unlocked: &Unlocked,
    unlock: &Unlock,
    running: bool,
    data: Option<&str>,
) -> String {
    let mut text = String::new();
    let all = unlocked.released + unlocked.kept;
    if !running {
        text.push_str("No hub runs on this store, so every claim is stale, however old.\n");
    }
    if all == 0 {
        let what = if running {
            format!(
                "Nothing has been processing for longer than {}.\n",
                age(unlock.older_than)
            )
        } else {
            "There is none.\n".to_owned()
        };
        return text + &what;
    }
    let word = match (unlocked.executed, unlocked.released) {
        (true, 1) => "was released, and is due now",
        (true, _) => "were released, and are due now",
        (false, _) => "would be released",
    };
    text.push_str(&format!("{} of {all} {word}:\n\n", unlocked.released));
    let claims = unlocked.claims.iter();
    let rows = table(claims.map(|claim| {
        let held = unlock.now.since(claim.since);
        let kept = if claim.released { "" } else { ", kept" };
        let remark = format!("{}{kept}", attempts(claim.attempts));
        (claim.notification_id, &claim.recipient, held, remark)
    }));
    let named = rows.len() as u64;
    text.push_str(&rows.concat());
    if all > named {
        text.push_str(&line(&format!("and {} more", all - named)));
    }
    text.push('\n');
    if unlocked.kept > 0 {
        text.push_str(&format!(
            "{} without an attempt left: --force releases them as well, and they begin anew.\n",
            unlocked.kept
        ));
    }
    if !unlocked.executed {
        let force = if unlock.force { " --force" } else { "" };
        let command = typed(&format!("campanile queue unlock --execute{force}"), data);
        text.push_str(&format!("Nothing was changed. To do it: {command}\n"));
    }
    text
}
