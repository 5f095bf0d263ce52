//! What may happen to a hub, and how a plan is drawn.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Who there is, and their roles.
pub const USERS: [(&str, &[&str]); 3] =
    [("ann", &["CREW"]), ("bob", &["CREW", "OPS"]), ("cid", &[])];
/// Whose each device is: two of them are ann's.
pub const DEVICES: [usize; 4] = [0, 0, 1, 2];
/// The roles that are written to; nobody has the last.
pub const ROLES: [&str; 3] = ["CREW", "OPS", "NOBODY"];
/// Who publishes.
pub const PUBLISHERS: [&str; 2] = ["billing", "shipping"];
/// The windows of throttles, in minutes. No sum of [`PASSES`] comes near one of these.
pub const WINDOWS: [u64; 2] = [60, 1_800];
/// When a notification may expire, in minutes after it was made.
pub const EXPIRES: [u64; 2] = [60, 3_060];
/// How much time may pass, in minutes: less than anything lasts, longer than broadcasts are kept, longer than all is.
pub const PASSES: [u64; 3] = [41, 187, 57_600];

/// Whom something is for.
#[derive(Clone, Debug, PartialEq)]
pub struct To {
    pub users: Vec<usize>,
    pub roles: Vec<usize>,
    pub everyone: bool,
}

/// The reference that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// The next of a prefix.
    Draw(usize),
    /// One out of few, so that it is often taken.
    Bring(usize),
    /// The one that would be drawn after so many more.
    Ahead(usize, usize),
}

/// What a publisher asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    pub publisher: usize,
    pub broadcast: bool,
    pub to: To,
    pub key: Option<u8>,
    /// Which key, which of [`WINDOWS`].
    pub throttle: Option<(u8, usize)>,
    pub reference: Option<Wanted>,
    /// Which of [`EXPIRES`].
    pub expires: Option<usize>,
}

/// A draft of a batch.
#[derive(Clone, Debug)]
pub enum Item {
    New(Ask),
    /// One that was asked under a key before; numbers like this one are taken modulo how many there are.
    Again(usize),
    /// The one before it once more.
    Twin,
}

/// Where a stream begins.
#[derive(Clone, Debug)]
pub enum From {
    /// Where the device was.
    Cursor,
    /// Nowhere: it has forgotten.
    Nothing,
    Garbage,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    Publish(Ask),
    /// One that was asked under a key before.
    Again(usize),
    /// The key of one before, with another draft.
    Reuse(usize),
    Batch(usize, Vec<Item>),
    /// The same under a key, so many times at once.
    AtOnce(Ask, usize),
    Ephemeral(To),
    Connect(usize, From),
    /// A device goes, and whether it had read what was sent to it.
    Leave(usize, bool),
    /// A stream from one of the ids that a user was ever sent.
    Resume(usize, usize),
    /// Somebody looks into their inbox: so many on a page, and whether only what is not read.
    List(usize, usize, bool),
    Read(usize, usize),
    ReadAll(usize, Option<usize>),
    /// All of a user's streams read what there is.
    CatchUp(usize),
    /// The hub is stopped, and started when so much time has passed (see [`PASSES`]).
    TimePasses(usize),
    Restart,
    /// The hub is gone from one moment to the next, while these are asked for; each is asked for again afterwards.
    Crash(Vec<Ask>),
}

fn to() -> impl Strategy<Value = To> {
    let named = (
        vec(0..USERS.len(), 0..3),
        vec(0..ROLES.len(), 0..2),
        0..USERS.len(),
    )
        .prop_map(|(mut users, mut roles, somebody)| {
            if users.is_empty() && roles.is_empty() {
                users.push(somebody);
            }
            users.sort_unstable();
            users.dedup();
            roles.sort_unstable();
            roles.dedup();
            To {
                users,
                roles,
                everyone: false,
            }
        });
    let everyone = Just(To {
        users: Vec::new(),
        roles: Vec::new(),
        everyone: true,
    });
    prop_oneof![4 => named, 1 => everyone]
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        3 => (0..2usize).prop_map(Wanted::Draw),
        1 => (0..4usize).prop_map(Wanted::Bring),
        1 => (0..2usize, 1..4usize).prop_map(|(prefix, ahead)| Wanted::Ahead(prefix, ahead)),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    (
        0..PUBLISHERS.len(),
        prop::bool::weighted(0.2),
        to(),
        option::weighted(0.4, 0..6u8),
        option::weighted(0.25, (0..2u8, 0..WINDOWS.len())),
        option::weighted(0.25, wanted()),
        option::weighted(0.2, 0..EXPIRES.len()),
    )
        .prop_map(
            |(publisher, broadcast, to, key, throttle, reference, expires)| Ask {
                publisher,
                broadcast,
                to,
                key,
                throttle,
                reference,
                expires,
            },
        )
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        4 => ask().prop_map(Item::New),
        2 => any::<u16>().prop_map(|n| Item::Again(n.into())),
        1 => Just(Item::Twin),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let number = || any::<u16>().prop_map(usize::from);
    let device = || 0..DEVICES.len();
    let user = || 0..USERS.len();
    let from =
        || prop_oneof![5 => Just(From::Cursor), 1 => Just(From::Nothing), 1 => Just(From::Garbage)];
    prop_oneof![
        12 => ask().prop_map(Step::Publish),
        5 => number().prop_map(Step::Again),
        2 => number().prop_map(Step::Reuse),
        4 => (0..PUBLISHERS.len(), vec(item(), 1..6)).prop_map(|(who, items)| Step::Batch(who, items)),
        2 => (ask(), 2..6usize).prop_map(|(ask, times)| Step::AtOnce(ask, times)),
        2 => to().prop_map(Step::Ephemeral),
        7 => (device(), from()).prop_map(|(device, from)| Step::Connect(device, from)),
        5 => (device(), any::<bool>()).prop_map(|(device, read)| Step::Leave(device, read)),
        4 => (user(), number()).prop_map(|(user, id)| Step::Resume(user, id)),
        3 => (user(), 1..8usize, any::<bool>()).prop_map(|(user, limit, unread)| Step::List(user, limit, unread)),
        3 => (user(), number()).prop_map(|(user, which)| Step::Read(user, which)),
        1 => (user(), option::of(number())).prop_map(|(user, upto)| Step::ReadAll(user, upto)),
        4 => user().prop_map(Step::CatchUp),
        2 => select(&[0usize, 0, 0, 0, 1, 1, 1, 2][..]).prop_map(Step::TimePasses),
        1 => Just(Step::Restart),
        2 => vec(ask(), 0..4).prop_map(Step::Crash),
    ]
}

/// Plans of at most so many steps.
pub fn plans(steps: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..=steps)
}
