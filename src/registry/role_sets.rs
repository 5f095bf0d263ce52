//! Sets of roles, each kept once: thousands of users share a handful of them, and each token brings a copy of its own.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A user's roles.
type Roles = Arc<[Arc<str>]>;

/// At so few sets it is not worth looking for those that nobody has any more.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(super) struct RoleSets(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    sets: HashSet<Roles>,
    /// How many were left when it was last swept.
    left: usize,
}

impl RoleSets {
    /// The same roles in the same order, from memory that others have who have them.
    pub(super) fn shared(&self, roles: Roles) -> Roles {
        // Nobody panics while holding it: there is nothing in there but looking up.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.sets.get(&roles) {
            return Arc::clone(known);
        }
        // Twice as many as were left: so each set pays for looking at two, and never more are kept than are of use.
        if kept.sets.len() >= FEW.max(2 * kept.left) {
            kept.sets.retain(|set| Arc::strong_count(set) > 1);
            kept.left = kept.sets.len();
        }
        kept.sets.insert(Arc::clone(&roles));
        roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(names: &[&str]) -> Roles {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn who_has_the_same_roles_shares_them() {
        let sets = RoleSets::default();
        let first = sets.shared(roles(&["admin", "support"]));
        assert!(Arc::ptr_eq(
            &first,
            &sets.shared(roles(&["admin", "support"]))
        ));
        let others = sets.shared(roles(&["support", "admin"]));
        assert_eq!(*others, *roles(&["support", "admin"]));
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let sets = RoleSets::default();
        let kept = sets.shared(roles(&["staff"]));
        for n in 0..10 * FEW {
            sets.shared(roles(&[&n.to_string()]));
        }
        let held = sets.0.lock().expect("no panic").sets.len();
        assert!(held <= FEW, "{held} are kept");
        assert!(Arc::ptr_eq(&kept, &sets.shared(roles(&["staff"]))));
    }
}
