//! Campanile is a real-time notification hub: a POST reaches the right browsers, at once, in order, durably.
//!
//! Backends publish for a user, a role or everyone; browsers hold a Server-Sent Events stream and get it at once.
//! Whoever is away finds it on return. One binary, one library; SQLite inside.
//!
//! # Layout, in the order of a notification's path
//!
//! - [`http`]: the routes, and nothing that decides about delivery
//! - [`auth`]: tokens and keys become a [`auth::Caller`]
//! - [`notification`], [`audience`]: a draft is validated, once, and gets an id
//! - [`idempotency`], [`throttle`], [`reference`](mod@reference): what a draft may ask for so that nothing is made twice
//! - [`hub`]: publish and subscribe: the whole path on one page
//! - [`inbox`]: what a user finds when they come, and how much of it is not read
//! - [`store`]: the log, durable before anything is delivered ([`store::sqlite`]); [`log`]: places in it
//! - `queue`: the log's entries in position order
//! - `fanout`: the one thread that owns all streams; `registry`: who is connected
//! - `stream`: one stream: owed, behind, live, ended; `replay`: what it reads from the log; `sink`: its socket
//! - [`sse`]: the only place that knows event-stream syntax
//! - [`delivery`]: what became of a notification for each of its recipients, and why
//! - [`reminders`]: what is overdue speaks up; `schedule`: releases what is held back, and what is overdue, in its time
//! - `retry`: asks again after those who did not take it; `retention`: deletes what is old
//! - [`webhooks`]: what nobody took, or everything, told to other programs
//! - [`waiting`]: what is owed, and claims to take back; [`diagnosis`]: what is wrong with all that
//! - `address`: how much one network address may hold; [`server`]: the binary's own accept loop; [`config`]: every number and its default; [`clock`], [`status`], `rate`, `private`
//! - `metrics`: what is counted, for Prometheus; [`events`]: what the log tells of, by name
//!
//! # In another axum application
//!
//! [`Hub`] and [`http::router`] mount in any axum app; see `examples/embedded.rs`.

mod address;
pub mod audience;
pub mod auth;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod diagnosis;
pub mod events;
mod fanout;
pub mod http;
pub mod hub;
pub mod idempotency;
pub mod inbox;
pub mod log;
mod metrics;
pub mod notification;
mod private;
mod queue;
mod rate;
pub mod reference;
mod registry;
pub mod reminders;
mod replay;
mod retention;
mod retry;
mod schedule;
pub mod server;
mod sink;
pub mod sse;
pub mod status;
pub mod store;
mod stream;
pub mod throttle;
pub mod waiting;
pub mod webhooks;

pub use hub::Hub;
pub use notification::Draft;
pub use registry::Connection;
pub use server::Server;
