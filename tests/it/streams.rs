//! What is promised of a stream, whichever way it goes to its client: each of these runs over the hub's own socket, and
//! `tests/run` has all of them run again over TLS, HTTP/2 and somebody else's server (`support/way.rs`).

mod asleep;
mod audience;
mod chaos;
mod ends;
mod ephemeral;
mod gaps;
mod heartbeats;
mod model;
mod order;
mod owed;
mod reading;
mod resume;
mod revoking;
mod slow_readers;
mod wire;
