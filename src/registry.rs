//! Who is connected: user → streams, and role → streams.
//!
//! Synchronous only, so that no guard of the maps can be held across an await. A place is taken by
//! [`Registry::reserve`], which holds the caps; the stream can be found by the fan-out once its place is
//! [`enrolled`](Registration::enroll) by the one thread that owns all streams; it is forgotten when the
//! [`Registration`] is dropped, however that comes about. The registry never knows of sockets.

mod role_sets;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use serde::{Serialize, Serializer};
use smallvec::SmallVec;
use uuid::Uuid;

use self::role_sets::RoleSets;
use crate::address::{self, PerAddress};
use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::store::Viewer;

/// A stream's slot in the table of the thread that owns it. Given again after the stream has ended.
pub(crate) type Slot = u32;

/// The streams that are open, by user and by role.
#[derive(Debug)]
pub(crate) struct Registry {
    users: DashMap<Arc<str>, Places>,
    roles: DashMap<Arc<str>, HashSet<Slot>>,
    role_sets: RoleSets,
    addresses: Arc<PerAddress>,
    total: AtomicUsize,
    caps: Caps,
}

/// How many streams there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) per_user: usize,
    pub(crate) per_address: usize,
    /// In all.
    pub(crate) max: usize,
}

/// A user's streams. Most users have one or two, which then need no list beside the map.
type Places = SmallVec<[Arc<Place>; 2]>;

/// One stream, as the registry lists it and its [`Registration`] holds it.
#[derive(Debug)]
struct Place {
    viewer: Viewer,
    connection: Uuid,
    since: Timestamp,
    /// Once it is enrolled.
    slot: OnceLock<Slot>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// This user has as many as one may have.
    User,
    /// This address has as many as one may have.
    Address,
    /// The hub has as many as it may have.
    Hub,
}

/// A stream as `/notifications/connections` lists it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The id that the stream was told in `connected`.
    pub connection_id: Uuid,
    /// Whose.
    pub user_id: Arc<str>,
    /// Their roles.
    pub roles: Arc<[Arc<str>]>,
    /// Since when.
    #[serde(serialize_with = "as_rfc3339")]
    pub since: Timestamp,
}

fn as_rfc3339<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(moment)
}

impl Registry {
    /// At most so many.
    pub(crate) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self {
            users: DashMap::new(),
            roles: DashMap::new(),
            role_sets: RoleSets::default(),
            addresses: PerAddress::new("streams", caps.per_address),
            total: AtomicUsize::new(0),
            caps,
        })
    }

    /// Takes a place for a stream, or says which cap is reached. Without an address none is counted.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        viewer: Viewer,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Registration, NoPlace> {
        let address = match address {
            Some(address) => Some(self.addresses.take(address).ok_or(NoPlace::Address)?),
            None => None,
        };
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.caps.max {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(NoPlace::Hub);
        }
        let mut places = self.users.entry(viewer.user).or_default();
        if places.len() >= self.caps.per_user {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return Err(NoPlace::User);
        }
        let place = Arc::new(Place {
            viewer: Viewer {
                user: Arc::clone(places.key()),
                roles: self.role_sets.take(viewer.roles),
            },
            connection: Uuid::now_v7(),
            since: now,
            slot: OnceLock::new(),
        });
        places.push(Arc::clone(&place));
        drop(places);
        Ok(Registration {
            registry: Arc::clone(self),
            place,
            _address: address,
        })
    }

    /// Calls `found` with the slot of every stream of this recipient. For everyone there is nothing to look up: whoever
    /// owns the streams has them all.
    pub(crate) fn each(&self, recipient: &Recipient, mut found: impl FnMut(Slot)) {
        match recipient {
            Recipient::User(user) => {
                if let Some(places) = self.users.get(user) {
                    places
                        .iter()
                        .filter_map(|place| place.slot())
                        .for_each(found);
                }
            }
            Recipient::Role(role) => {
                if let Some(slots) = self.roles.get(role) {
                    slots.iter().for_each(|slot| found(*slot));
                }
            }
            Recipient::Everyone => {}
        }
    }

    /// The slots of the first few streams of this recipient, in no order.
    pub(crate) fn some(&self, recipient: &Recipient, limit: usize) -> Vec<Slot> {
        match recipient {
            Recipient::User(user) => self.users.get(user).map_or_else(Vec::new, |places| {
                let slots = places.iter().filter_map(|place| place.slot());
                slots.take(limit).collect()
            }),
            Recipient::Role(role) => self.roles.get(role).map_or_else(Vec::new, |slots| {
                slots.iter().take(limit).copied().collect()
            }),
            Recipient::Everyone => Vec::new(),
        }
    }

    /// How many streams there are.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// How many users hold at least one.
    pub(crate) fn users(&self) -> usize {
        self.users.len()
    }

    /// How many streams a user has.
    pub(crate) fn of_user(&self, user: &str) -> usize {
        self.users.get(user).map_or(0, |places| places.len())
    }

    /// How many streams each role has.
    pub(crate) fn by_role(&self) -> Vec<(Arc<str>, usize)> {
        self.roles
            .iter()
            .map(|role| (Arc::clone(role.key()), role.value().len()))
            .collect()
    }

    /// Up to `limit` streams, in no order.
    pub(crate) fn connections(&self, limit: usize) -> Vec<Connection> {
        let mut listed = Vec::new();
        for user in &self.users {
            let left = limit - listed.len();
            listed.extend(user.iter().take(left).map(|place| place.listed()));
            if listed.len() == limit {
                break;
            }
        }
        listed
    }
}

impl Place {
    fn slot(&self) -> Option<Slot> {
        self.slot.get().copied()
    }

    fn listed(&self) -> Connection {
        Connection {
            connection_id: self.connection,
            user_id: Arc::clone(&self.viewer.user),
            roles: Arc::clone(&self.viewer.roles),
            since: self.since,
        }
    }
}

/// A stream's place; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    place: Arc<Place>,
    /// Kept for its end: given back when the stream is gone.
    _address: Option<address::Place>,
}

impl Registration {
    /// From now on the fan-out finds the stream under this slot. To be called once.
    pub(crate) fn enroll(&self, slot: Slot) {
        if self.place.slot.set(slot).is_err() {
            debug_assert!(false, "a stream has one slot");
            return;
        }
        for role in self.viewer().roles.iter() {
            self.registry
                .roles
                .entry(Arc::clone(role))
                .or_default()
                .insert(slot);
        }
    }

    /// Who the stream is for.
    pub(crate) fn viewer(&self) -> &Viewer {
        &self.place.viewer
    }

    /// The stream's public id.
    pub(crate) fn connection(&self) -> Uuid {
        self.place.connection
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let (registry, viewer) = (&self.registry, self.viewer());
        registry.total.fetch_sub(1, Ordering::Relaxed);
        registry.role_sets.give_back(&viewer.roles);
        if let Some(mut places) = registry.users.get_mut(&viewer.user) {
            places.retain(|place| !Arc::ptr_eq(place, &self.place));
        }
        registry
            .users
            .remove_if(&viewer.user, |_, places| places.is_empty());
        let Some(slot) = self.place.slot() else {
            return;
        };
        for role in viewer.roles.iter() {
            if let Some(mut slots) = registry.roles.get_mut(role) {
                slots.remove(&slot);
            }
            registry.roles.remove_if(role, |_, slots| slots.is_empty());
        }
    }
}
