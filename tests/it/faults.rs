//! A store that fails: at every call in turn, and at every page that a full disk does not give. Each request happened wholly,
//! or not at all; and what failed for a while works again.
//!
//! - `calls`: a store whose calls fail one after the other (`store`), under a whole hub
//! - `webhooks`: the same on a webhook's way out
//! - `room`: a file that may grow by one page at a time

mod calls;
mod room;
mod store;
mod webhooks;
