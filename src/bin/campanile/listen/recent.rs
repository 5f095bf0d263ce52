//! The notifications that were printed lately, so that one which comes again after a reconnect is not printed again.

use std::collections::{HashSet, VecDeque};

/// How many are remembered; what comes again comes soon.
const REMEMBERED: usize = 1_000;

/// A set that forgets the oldest.
#[derive(Debug, Default)]
pub(super) struct Recent {
    known: HashSet<String>,
    oldest_first: VecDeque<String>,
}

impl Recent {
    /// Remembers it; false if it was remembered already.
    pub(super) fn insert(&mut self, id: &str) -> bool {
        if !self.known.insert(id.to_owned()) {
            return false;
        }
        self.oldest_first.push_back(id.to_owned());
        if self.oldest_first.len() > REMEMBERED
            && let Some(forgotten) = self.oldest_first.pop_front()
        {
            self.known.remove(&forgotten);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut recent = Recent::default();
        for n in 0..=REMEMBERED {
            assert!(recent.insert(&n.to_string()));
        }
        assert!(!recent.insert("1"));
        assert!(recent.insert("0"));
        assert_eq!(recent.known.len(), REMEMBERED);
    }
}
