//! What is passed on and not kept: one frame to the streams that are live, and that is all.
//!
//! It has no place in the log, so it moves no cursor and settles nothing; a stream that is behind does not get it. Within
//! the round it keeps its place between the batches of the log.

use std::time::Instant;

use super::table::Table;
use crate::audience::{Audience, Recipient};
use crate::clock::Timestamp;
use crate::notification::Ephemeral;
use crate::registry::Slot;
use crate::sse::Frame;

/// An ephemeral notification ready to be sent.
#[derive(Debug)]
pub(crate) struct Passing {
    audience: Audience,
    expires_at: Option<Timestamp>,
    frame: Frame,
}

impl From<&Ephemeral> for Passing {
    fn from(ephemeral: &Ephemeral) -> Self {
        Self {
            audience: ephemeral.audience.clone(),
            expires_at: ephemeral.expires_at,
            frame: Frame::ephemeral(ephemeral),
        }
    }
}

impl Table {
    /// Writes one to every live stream in its audience, once.
    pub(super) fn pass(&mut self, passing: &Passing, now: Instant) {
        if passing
            .expires_at
            .is_some_and(|moment| moment <= Timestamp::now())
        {
            return;
        }
        let mut slots: Vec<Slot> = Vec::new();
        for recipient in passing.audience.recipients() {
            match recipient {
                Recipient::Everyone => slots.extend(0..self.slots()),
                named => self.parts.registry.each(named, |slot| slots.push(slot)),
            }
        }
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            let Some(Some(stream)) = self.streams.get_mut(slot as usize) else {
                continue;
            };
            if stream.pass(&passing.frame, now) {
                self.delivered += 1;
            }
            self.follow(slot, now);
        }
    }
}
