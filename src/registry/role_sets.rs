//! Sets of roles, each kept once: thousands of users share a handful of them, and each token brings a copy of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A user's roles, in their token's order.
type Roles = Arc<[Arc<str>]>;

/// The sets that are held, each with by how many streams: it goes with the last of them.
#[derive(Debug, Default)]
pub(super) struct RoleSets(Mutex<HashMap<Roles, usize>>);

impl RoleSets {
    /// The same roles, from memory that all share who have them. To be given back.
    pub(super) fn take(&self, roles: Roles) -> Roles {
        let mut held = self.lock();
        let known = held.get_key_value(&roles).map(|(known, _)| known);
        let shared = Arc::clone(known.unwrap_or(&roles));
        *held.entry(Arc::clone(&shared)).or_default() += 1;
        shared
    }

    /// One that has them has gone.
    pub(super) fn give_back(&self, roles: &Roles) {
        let mut held = self.lock();
        if let Some(count) = held.get_mut(roles) {
            *count -= 1;
            if *count == 0 {
                held.remove(roles);
            }
        }
    }

    /// Nobody panics while holding it: there is nothing in there but counting.
    fn lock(&self) -> MutexGuard<'_, HashMap<Roles, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let first = sets.take(roles(&["admin", "support"]));
        let second = sets.take(roles(&["admin", "support"]));
        assert!(Arc::ptr_eq(&first, &second));
        let others = sets.take(roles(&["support", "admin"]));
        assert_eq!(*others, *roles(&["support", "admin"]));
    }

    #[test]
    fn a_set_goes_with_the_last_who_has_it() {
        let sets = RoleSets::default();
        let [first, second] = [(); 2].map(|()| sets.take(roles(&["staff"])));
        sets.give_back(&first);
        assert!(Arc::ptr_eq(&second, &sets.take(roles(&["staff"]))));
        sets.give_back(&second);
        sets.give_back(&second);
        assert!(sets.lock().is_empty());
    }
}
