//! Numbers and spans of time as people say them.

use std::time::Duration;

/// A span of time in its largest whole unit, and the next one below where that says more: `42 min`, `3 h 10 min`, `2 d`.
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) if minutes % 60 == 0 => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ if hours % 24 == 0 => format!("{days} d"),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// So many of something: `1 recipient`, `3 recipients`.
pub(super) fn so_many(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_one_or_two_units() {
        let said = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(
            [0, 59, 60, 2_520, 3_600, 11_400, 86_400, 100_000].map(said),
            [
                "0 s",
                "59 s",
                "1 min",
                "42 min",
                "1 h",
                "3 h 10 min",
                "1 d",
                "1 d 3 h"
            ]
        );
    }
}
