//! The promises to users, a file for each, through the public surface.
#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod asleep;
mod audience;
mod backup;
mod bad_input;
mod command_line;
mod configuration;
mod crash;
mod embedded;
mod ends;
mod ephemeral;
mod events;
mod faults;
mod gaps;
mod heartbeats;
mod metrics;
mod model;
mod once;
mod openapi;
mod order;
mod other_clients;
mod owed;
mod pruning;
mod queue;
mod reading;
mod resume;
mod routes;
mod scheduled;
mod serving;
mod slow_readers;
mod store;
mod support;
mod tokens;
mod webhooks;
mod why;
mod wire;
