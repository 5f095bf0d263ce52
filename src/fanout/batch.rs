//! One batch of the log to all its streams.
//!
//! First who gets what (a selection for each stream), then one write for each stream, then what that means: a recipient
//! whom nobody took it for is owed. Streams of one user or role are found through the registry; everyone is the whole
//! table. A stream that matches in several ways is selected once, because selections are sets.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::Outgoing;
use super::table::Table;
use crate::audience::Recipient;
use crate::clock::Timestamp;
use crate::log::Position;
use crate::notification::Kind;
use crate::registry::Slot;
use crate::sse::{Framing, Naming};
use crate::store::{Missed, Reach, Viewer};
use crate::stream::{Note, Run, Stream};

/// An entry's index in the batch.
type Index = u16;

/// What a batch selects.
#[derive(Default)]
pub(super) struct Batch {
    /// Entries for everyone.
    everyone: Vec<Index>,
    /// Entries for single streams, sorted by stream and then by entry, each pair once.
    single: Vec<(Slot, Index)>,
    /// Recipients by name, and where their streams stand in `slots`.
    named: Vec<Named>,
    slots: Vec<Slot>,
    /// Recipients of entries that had expired before they came to be sent.
    lapsed: Vec<(Index, Recipient)>,
}

struct Named {
    entry: Index,
    recipient: Recipient,
    /// Whether its verdict hangs on this fan-out. Nobody is asked after for a broadcast.
    judged: bool,
    slots: std::ops::Range<usize>,
}

/// How many streams there are, for what is for all of them.
#[derive(Clone, Copy, Default)]
struct Everyone {
    live: usize,
    behind: usize,
}

impl Everyone {
    fn count(&mut self, stream: Option<&Option<Box<Stream>>>) {
        if let Some(Some(stream)) = stream {
            let live = stream.is_live();
            self.live += usize::from(live);
            self.behind += usize::from(!live);
        }
    }
}

/// The frames of a selection put together, kept for the next stream with the same one.
#[derive(Default)]
struct Joined {
    last: [Option<(Vec<Index>, Run)>; VARIANTS],
    buffer: BytesMut,
}

impl Batch {
    /// The most entries in one batch, within [`Index`].
    pub(super) const MAX: usize = 4096;
    /// The most selections of single streams, after which a batch ends: thousands of entries for a role with thousands of
    /// streams would take a gigabyte, and as long to sort.
    const MAX_SELECTED: usize = 500_000;

    /// Selects for the first of the entries, up to [`MAX_SELECTED`](Self::MAX_SELECTED); how many they are, at least one.
    fn select(table: &Table, entries: &[Arc<Outgoing>], wall: Timestamp) -> (Self, usize) {
        let mut batch = Self::default();
        for (index, outgoing) in entries.iter().enumerate() {
            if batch.single.len() >= Self::MAX_SELECTED {
                batch.sort();
                return (batch, index);
            }
            let entry = Index::try_from(index).unwrap_or(Index::MAX);
            let lapsed = outgoing.lapsed(wall);
            for recipient in outgoing.audience.recipients() {
                let judged =
                    outgoing.kind == Kind::Notification && *recipient != Recipient::Everyone;
                if lapsed {
                    if judged {
                        batch.lapsed.push((entry, recipient.clone()));
                    }
                    continue;
                }
                if *recipient == Recipient::Everyone {
                    batch.everyone.push(entry);
                    continue;
                }
                let start = batch.slots.len();
                table.parts.registry.each(recipient, |slot| {
                    batch.slots.push(slot);
                    batch.single.push((slot, entry));
                });
                batch.named.push(Named {
                    entry,
                    recipient: recipient.clone(),
                    judged,
                    slots: start..batch.slots.len(),
                });
            }
        }
        batch.sort();
        (batch, entries.len())
    }

    fn sort(&mut self) {
        self.single.sort_unstable();
        self.single.dedup();
    }
}

impl Table {
    /// Takes entries, which must follow each other without a hole, through the fan-out.
    pub(super) fn fan_out(&mut self, mut entries: &[Arc<Outgoing>], now: Instant) {
        self.recent.keep(entries);
        while !entries.is_empty() {
            let (batch, taken) = Batch::select(self, entries, Timestamp::now());
            let (these, rest) = entries.split_at(taken.max(1));
            self.send(&batch, these, now);
            entries = rest;
        }
    }

    /// Sends entries to the streams that were selected for them.
    fn send(&mut self, batch: &Batch, entries: &[Arc<Outgoing>], now: Instant) {
        let Some(last) = entries.last() else { return };
        // Whatever is read from the log from now on is read up to here.
        self.fanned = last.position;

        let mut everyone = Everyone::default();
        let mut joined = Joined::default();
        let mut selection: Vec<Index> = Vec::new();
        let mut rest = batch.single.as_slice();
        if batch.everyone.is_empty() {
            while let Some((slot, _)) = rest.first().copied() {
                let own = take_while(&mut rest, |(other, _)| *other == slot);
                selection.clear();
                selection.extend(own.iter().map(|(_, entry)| *entry));
                self.offer(slot, entries, &selection, &mut joined, now);
            }
        } else {
            for index in 0..self.streams.len() {
                let slot = Slot::try_from(index).unwrap_or(Slot::MAX);
                let own = take_while(&mut rest, |(other, _)| *other == slot);
                everyone.count(self.streams.get(index));
                if own.is_empty() {
                    self.offer(slot, entries, &batch.everyone, &mut joined, now);
                } else {
                    selection.clear();
                    selection.extend(own.iter().map(|(_, entry)| *entry));
                    selection.extend_from_slice(&batch.everyone);
                    selection.sort_unstable();
                    self.offer(slot, entries, &selection, &mut joined, now);
                }
            }
        }
        self.judge(batch, entries, everyone);
    }

    /// Offers a stream the entries selected for it.
    fn offer(
        &mut self,
        slot: Slot,
        entries: &[Arc<Outgoing>],
        selection: &[Index],
        joined: &mut Joined,
        now: Instant,
    ) {
        let Some(Some(stream)) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let entry = |index: usize| entries.get(usize::from(*selection.get(index)?));
        let Some(last) = selection.len().checked_sub(1).and_then(entry) else {
            return;
        };
        if !stream.is_live() {
            stream.miss(last.position);
            // A live one that missed something turns to the log; the others are on their way there.
            return self.follow(slot, now);
        }
        let run = joined.run(entries, selection, stream.naming, stream.framing);
        let note = |viewer: &Viewer, index: usize| {
            let outgoing = entry(index)?;
            Some(Note {
                position: outgoing.position,
                sent: served(outgoing, viewer),
            })
        };
        self.delivered += selection.len() as u64;
        stream.offer(run, last.position, note, &mut self.verdicts, now);
        self.follow(slot, now);
    }

    /// What the fan-out means for those whose verdict hangs on it.
    fn judge(&mut self, batch: &Batch, entries: &[Arc<Outgoing>], everyone: Everyone) {
        let has = |slot: &Slot, position| matches!(self.streams.get(*slot as usize), Some(Some(stream)) if stream.has(position));
        for named in &batch.named {
            let Some(outgoing) = entries.get(usize::from(named.entry)) else {
                continue;
            };
            let (slots, position) = (&batch.slots[named.slots.clone()], outgoing.position);
            if !named.judged {
                let live = slots.iter().filter(|slot| has(slot, position)).count();
                let reached = &mut self.verdicts.reached;
                add(reached, position, live, slots.len() - live);
            } else if !slots.iter().any(|slot| has(slot, position)) {
                let missed = if slots.is_empty() {
                    Missed::NoStream
                } else {
                    Missed::NotTaken
                };
                self.recent.owed(position);
                let owed = (position, named.recipient.clone(), missed);
                self.verdicts.owed.push(owed);
            }
        }
        for entry in &batch.everyone {
            if let Some(outgoing) = entries.get(usize::from(*entry)) {
                let reached = &mut self.verdicts.reached;
                add(reached, outgoing.position, everyone.live, everyone.behind);
            }
        }
        for (entry, recipient) in &batch.lapsed {
            if let Some(outgoing) = entries.get(usize::from(*entry)) {
                let owed = (outgoing.position, recipient.clone(), Missed::Lapsed);
                self.verdicts.owed.push(owed);
            }
        }
        self.verdicts.settled = self.fanned;
    }
}

impl Joined {
    /// The frames of a selection, put together unless the stream before had the same.
    fn run(
        &mut self,
        entries: &[Arc<Outgoing>],
        selection: &[Index],
        naming: Naming,
        framing: Framing,
    ) -> &Run {
        let variant = variant(naming, framing);
        let same = matches!(&self.last[variant], Some((last, _)) if last == selection);
        if !same {
            let selected = selection
                .iter()
                .filter_map(|entry| entries.get(usize::from(*entry)))
                .map(|outgoing| &**outgoing);
            let run = join(&mut self.buffer, selected, naming, framing);
            self.last[variant] = Some((selection.to_vec(), run));
        }
        // Filled just above if it was not before.
        &self.last[variant].get_or_insert_with(Default::default).1
    }
}

/// How many kinds of streams there are, to which the same frame is different bytes.
pub(super) const VARIANTS: usize = 4;

/// Which of them these streams are.
pub(super) fn variant(naming: Naming, framing: Framing) -> usize {
    usize::from(naming == Naming::Named) * 2 + usize::from(framing == Framing::Chunked)
}

/// The frames of these entries put together, to be written in one call.
pub(super) fn join<'a>(
    buffer: &mut BytesMut,
    entries: impl Iterator<Item = &'a Outgoing> + Clone,
    naming: Naming,
    framing: Framing,
) -> Run {
    let mut first = entries.clone();
    if let (Some(only), None) = (first.next(), first.next()) {
        let bytes = only.frame.bytes(naming, framing);
        return Run {
            bytes: Bytes::clone(bytes),
            ends: vec![bytes.len()],
            inbox: only.kind == Kind::Notification,
        };
    }
    let (mut ends, mut length, mut inbox) = (Vec::new(), 0, false);
    for outgoing in entries {
        let bytes = outgoing.frame.bytes(naming, framing);
        buffer.extend_from_slice(bytes);
        length += bytes.len();
        ends.push(length);
        inbox |= outgoing.kind == Kind::Notification;
    }
    Run {
        bytes: buffer.split().freeze(),
        ends,
        inbox,
    }
}

/// Counts streams to what is known of a position; a recipient that has several adds up, each stream counting for each.
fn add(reached: &mut Vec<(Position, Reach)>, position: Position, live: usize, behind: usize) {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    match reached.last_mut() {
        Some((last, reach)) if *last == position => {
            reach.live = reach.live.saturating_add(number(live));
            reach.behind = reach.behind.saturating_add(number(behind));
        }
        _ => reached.push((
            position,
            Reach {
                live: number(live),
                behind: number(behind),
            },
        )),
    }
}

/// The recipients of a notification that this viewer stands for.
pub(crate) fn served(outgoing: &Outgoing, viewer: &Viewer) -> Vec<Recipient> {
    if outgoing.kind != Kind::Notification {
        return Vec::new();
    }
    recipients_of(outgoing.audience.recipients(), viewer)
}

/// Those of the recipients that this viewer stands for.
pub(crate) fn recipients_of(recipients: &[Recipient], viewer: &Viewer) -> Vec<Recipient> {
    recipients
        .iter()
        .filter(|recipient| match recipient {
            Recipient::User(user) => *user == viewer.user,
            Recipient::Role(role) => viewer.roles.contains(role),
            Recipient::Everyone => false,
        })
        .cloned()
        .collect()
}

/// Splits off the front of a slice for as long as the condition holds.
fn take_while<'a, T>(rest: &mut &'a [T], holds: impl Fn(&T) -> bool) -> &'a [T] {
    let length = rest.iter().take_while(|item| holds(item)).count();
    let (front, back) = rest.split_at(length);
    *rest = back;
    front
}
