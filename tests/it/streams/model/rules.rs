//! What a hub must make of what it is asked: a list of entries and plain rules, with nothing of how it is kept.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::plan::{PASSES, ROLES, To, USERS};

/// How long broadcasts are kept, in minutes; and notifications.
const BROADCASTS_KEPT: u64 = 60;
const NOTIFICATIONS_KEPT: u64 = 30 * 24 * 60;
/// How long keys are, and the record of their being used again.
const KEYS_KEPT: u64 = 24 * 60;
const AUDIT_KEPT: u64 = 30 * 24 * 60;
/// How often a number is drawn before a reference is given up.
const DRAWS: usize = 3;

/// A reference as a request asks for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    Draw(&'static str),
    Bring(String),
}

/// What was sent to the hub.
#[derive(Clone, Debug)]
pub struct Request {
    pub publisher: &'static str,
    pub broadcast: bool,
    /// The draft as it stands in the body, without a key.
    pub draft: Value,
    pub to: To,
    pub key: Option<String>,
    /// Its key and window in minutes.
    pub throttle: Option<(String, u64)>,
    pub reference: Option<Reference>,
    /// When it expires.
    pub expires: Option<u64>,
    /// When it was first asked.
    pub first: u64,
}

/// What stands in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    pub broadcast: bool,
    pub to: To,
    pub message: String,
    pub reference: Option<String>,
    pub made: u64,
    pub expires: Option<u64>,
    pub pruned: bool,
    /// What the hub called it, once it has said so.
    pub id: Option<String>,
}

/// What a request must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// It stands at this position now.
    Made(u64),
    /// With what stands at this position: held off by a throttle, or (again) by its key.
    Earlier {
        position: u64,
        throttled: bool,
        duplicate: bool,
    },
    Refused(u16),
    /// The reference that was drawn is taken.
    Collided,
}

/// What a key stands for.
#[derive(Clone, Debug)]
pub struct Kept {
    pub draft: Value,
    pub broadcast: bool,
    pub position: u64,
    pub throttled: bool,
    pub since: u64,
}

/// What a user has.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// Where the log stood at their first visit.
    pub since: Option<u64>,
    /// What any of their streams has read.
    pub had: BTreeSet<u64>,
    /// What was on its way to a stream that was left unread, or lies before a gap that they were told of.
    pub unsure: BTreeSet<u64>,
    pub read: BTreeSet<u64>,
    pub read_upto: u64,
    /// Every id that any of their streams was sent.
    pub ids: BTreeSet<u64>,
}

/// The hub, as it should be.
#[derive(Default)]
pub struct Model {
    /// What time it is, in minutes. It stands still but for [`PASSES`].
    pub now: u64,
    /// The first stands at position 1.
    pub log: Vec<Entry>,
    pub keys: BTreeMap<(&'static str, String), Kept>,
    /// Publisher, key and window: when the last one was accepted, and where it stands.
    pub throttles: BTreeMap<(&'static str, String, u64), (u64, u64)>,
    /// Which references are whose.
    pub references: BTreeMap<String, u64>,
    pub counters: BTreeMap<&'static str, u64>,
    pub people: [Person; USERS.len()],
    /// When keys were used again, and whether that was answered.
    pub duplicates: Vec<(u64, bool)>,
    /// The highest positions that were pruned: of broadcasts, and of notifications.
    pub floors: (u64, u64),
    /// The month, as references have it.
    pub month: String,
}

impl To {
    pub fn names(&self, user: usize) -> bool {
        self.users.contains(&user)
    }

    pub fn includes(&self, user: usize) -> bool {
        let roles = USERS[user].1;
        self.everyone
            || self.names(user)
            || self.roles.iter().any(|role| roles.contains(&ROLES[*role]))
    }
}

impl Model {
    pub fn head(&self) -> u64 {
        self.log.len() as u64
    }

    pub fn entry(&self, position: u64) -> &Entry {
        &self.log[usize::try_from(position).expect("a position") - 1]
    }

    pub fn entry_mut(&mut self, position: u64) -> &mut Entry {
        &mut self.log[usize::try_from(position).expect("a position") - 1]
    }

    /// Takes requests in as one commit, in order, and those whose reference was taken again after it.
    pub fn accept_all(&mut self, requests: &[Request]) -> Vec<Due> {
        let mut due: Vec<Due> = requests.iter().map(|r| self.accept(r)).collect();
        for _ in 1..DRAWS {
            for (due, request) in due.iter_mut().zip(requests) {
                if *due == Due::Collided {
                    *due = self.accept(request);
                }
            }
        }
        due
    }

    /// The key first, then whether it has lapsed, then its throttle, then its reference.
    fn accept(&mut self, request: &Request) -> Due {
        let key = request
            .key
            .as_ref()
            .map(|key| (request.publisher, key.clone()));
        if let Some(kept) = key.as_ref().and_then(|key| self.keys.get(key)) {
            if kept.draft != request.draft || kept.broadcast != request.broadcast {
                self.duplicates.push((self.now, false));
                return Due::Refused(422);
            }
            self.duplicates.push((self.now, true));
            return Due::Earlier {
                position: kept.position,
                throttled: kept.throttled,
                duplicate: true,
            };
        }
        if request.expires.is_some_and(|end| end <= self.now) {
            return Due::Refused(422);
        }
        let throttle = request
            .throttle
            .clone()
            .map(|(key, window)| (request.publisher, key, window));
        let held_off_by = throttle.as_ref().and_then(|throttle| {
            let (accepted, position) = self.throttles.get(throttle)?;
            (self.now < accepted + throttle.2).then_some(*position)
        });
        if let Some(position) = held_off_by {
            self.keep(key, request, position, true);
            return Due::Earlier {
                position,
                throttled: true,
                duplicate: false,
            };
        }
        let position = self.head() + 1;
        let reference = match &request.reference {
            None => None,
            Some(Reference::Bring(reference)) if self.references.contains_key(reference) => {
                return Due::Refused(409);
            }
            Some(Reference::Bring(reference)) => Some(reference.clone()),
            Some(Reference::Draw(prefix)) => {
                let reference = self.next_reference(prefix, 1);
                *self.counters.entry(prefix).or_default() += 1;
                if self.references.contains_key(&reference) {
                    return Due::Collided;
                }
                Some(reference)
            }
        };
        if let Some(reference) = &reference {
            self.references.insert(reference.clone(), position);
        }
        if let Some(throttle) = throttle {
            self.throttles.insert(throttle, (self.now, position));
        }
        self.keep(key, request, position, false);
        self.log.push(Entry {
            broadcast: request.broadcast,
            to: request.to.clone(),
            message: request.draft["message"]
                .as_str()
                .expect("a message")
                .to_owned(),
            reference,
            made: self.now,
            expires: request.expires,
            pruned: false,
            id: None,
        });
        Due::Made(position)
    }

    fn keep(
        &mut self,
        key: Option<(&'static str, String)>,
        request: &Request,
        position: u64,
        throttled: bool,
    ) {
        if let Some(key) = key {
            let kept = Kept {
                draft: request.draft.clone(),
                broadcast: request.broadcast,
                position,
                throttled,
                since: self.now,
            };
            self.keys.insert(key, kept);
        }
    }

    /// The reference that is drawn so many draws from now.
    pub fn next_reference(&self, prefix: &str, ahead: u64) -> String {
        let last = self.counters.get(prefix).copied().unwrap_or(0);
        format!("{prefix}-{}-{:04}", self.month, last + ahead)
    }

    fn there(&self, position: u64) -> bool {
        let entry = self.entry(position);
        !entry.pruned && entry.expires.is_none_or(|end| end > self.now)
    }

    /// What a stream of this user is sent of the log after one place and up to another.
    pub fn log_of(&self, user: usize, after: u64, upto: u64) -> Vec<u64> {
        (after + 1..=upto)
            .filter(|p| self.entry(*p).to.includes(user) && self.there(*p))
            .collect()
    }

    /// What is owed to this user by name up to a place: nobody took it, nothing else settled it.
    pub fn owed(&self, user: usize, upto: u64) -> Vec<u64> {
        let person = &self.people[user];
        (1..=upto)
            .filter(|p| {
                self.may_be_owed(user, *p)
                    && !person.had.contains(p)
                    && !person.unsure.contains(p)
                    && !self.is_read(user, *p)
            })
            .collect()
    }

    /// Whether something could come without an id: it names them, and is there.
    pub fn may_be_owed(&self, user: usize, position: u64) -> bool {
        let entry = self.entry(position);
        !entry.broadcast && entry.to.names(user) && self.there(position)
    }

    fn is_read(&self, user: usize, position: u64) -> bool {
        let person = &self.people[user];
        position <= person.read_upto || person.read.contains(&position)
    }

    /// Whether it is in a user's inbox.
    pub fn in_inbox(&self, user: usize, position: u64) -> bool {
        let entry = self.entry(position);
        let visited = self.people[user]
            .since
            .is_some_and(|since| position > since);
        !entry.broadcast
            && !entry.pruned
            && entry.to.includes(user)
            && (visited || entry.to.names(user))
    }

    /// A user's inbox as it is listed, the newest first, each with whether it is read.
    pub fn inbox(&self, user: usize) -> Vec<(u64, bool)> {
        (1..=self.head())
            .rev()
            .filter(|p| self.in_inbox(user, *p) && self.there(*p))
            .map(|p| (p, self.is_read(user, p)))
            .collect()
    }

    pub fn unread(&self, user: usize) -> usize {
        let inbox = self.inbox(user).into_iter();
        inbox.filter(|(_, read)| !read).count()
    }

    /// What no stream of theirs will be sent any more counts as told of by the gap at this place.
    pub fn gap(&mut self, user: usize, place: u64) {
        self.lose(user, self.log_of(user, 0, place));
    }

    /// These were on their way to a user and may or may not have arrived.
    pub fn lose(&mut self, user: usize, positions: impl IntoIterator<Item = u64>) {
        let person = &mut self.people[user];
        let lost = positions.into_iter().filter(|p| !person.had.contains(p));
        person.unsure.extend(lost);
    }

    /// Time passes, and what is old goes.
    pub fn pass(&mut self, which: usize) {
        self.now += PASSES[which];
        let now = self.now;
        for (position, entry) in (1..).zip(&mut self.log) {
            let (kept, floor) = if entry.broadcast {
                (BROADCASTS_KEPT, &mut self.floors.0)
            } else {
                (NOTIFICATIONS_KEPT, &mut self.floors.1)
            };
            if !entry.pruned && entry.made + kept < now {
                entry.pruned = true;
                *floor = position.max(*floor);
            }
        }
        self.keys.retain(|_, kept| kept.since + KEYS_KEPT >= now);
        self.duplicates.retain(|(used, _)| used + AUDIT_KEPT >= now);
        self.throttles
            .retain(|(_, _, window), (accepted, _)| *accepted + *window >= now);
    }
}
