//! The latest entries, as they went out: for streams that come back, or are a little behind.
//!
//! When a network has been away for a moment, thousands of streams come back at once, each for the same few entries; and a
//! stream whose socket was full wants what the thread has just had in its hands. Neither needs the store. What is kept is
//! the end of the log without a hole, up to where the fan-out has come, and bounded in bytes; whoever is further behind
//! reads the log itself ([`crate::replay`]).
//!
//! The store decides what may be sent. So what is pruned or withdrawn there is forgotten here, before anybody is told that
//! it is gone.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::Outgoing;
use super::batch::{VARIANTS, join, served, variant};
use crate::clock::Timestamp;
use crate::log::Position;
use crate::sse::{Framing, Naming};
use crate::store::Viewer;
use crate::stream::{Note, ServedPage};

/// How many bytes of frames a page holds: about what a socket's send buffer takes.
const PAGE_BYTES: usize = 64 * 1024;

/// How many recipients are looked at for a page. The store finds one user's entries among everybody's by an index; here
/// they are looked for one by one, on the thread that all streams wait for.
const MAX_LOOKED_AT: usize = 1_024;

/// The latest entries, the oldest first, each at the position after the one before.
pub(super) struct Recent {
    kept: VecDeque<Kept>,
    /// The position before the oldest.
    after: Position,
    /// What they take, and the most that they may.
    bytes: usize,
    max_bytes: usize,
    /// For each kind of stream the last page that held no verdict, for the next that is to have the same.
    pages: [Option<Arc<ServedPage>>; VARIANTS],
}

struct Kept {
    outgoing: Arc<Outgoing>,
    /// Somebody may be owed it: a stream that takes it now decides something.
    open: bool,
    /// It was withdrawn.
    gone: bool,
}

impl Recent {
    /// Nothing yet; what comes first will be what follows `after`.
    pub(super) fn new(max_bytes: usize, after: Position) -> Self {
        Self {
            kept: VecDeque::new(),
            after,
            bytes: 0,
            max_bytes,
            pages: Default::default(),
        }
    }

    /// Keeps what goes out next, and lets go of the oldest.
    pub(super) fn keep(&mut self, entries: &[Arc<Outgoing>]) {
        for outgoing in entries {
            if self.after.0 + self.kept.len() as u64 + 1 != outgoing.position.0 {
                self.clear(outgoing.position);
            }
            self.bytes += outgoing.size();
            self.kept.push_back(Kept {
                outgoing: Arc::clone(outgoing),
                open: false,
                gone: false,
            });
        }
        while self.bytes > self.max_bytes && self.let_go() {}
    }

    fn let_go(&mut self) -> bool {
        let Some(oldest) = self.kept.pop_front() else {
            return false;
        };
        self.bytes -= oldest.outgoing.size();
        self.after = oldest.outgoing.position;
        true
    }

    /// Begins anew with what is at this position.
    fn clear(&mut self, next: Position) {
        self.kept.clear();
        self.bytes = 0;
        self.after = Position(next.0.saturating_sub(1));
        self.pages = Default::default();
    }

    fn index(&self, position: Position) -> Option<usize> {
        let index = position.0.checked_sub(self.after.0 + 1)?;
        usize::try_from(index).ok()
    }

    /// Somebody is owed what is at this position.
    pub(super) fn owed(&mut self, position: Position) {
        if let Some(kept) = self.index(position).and_then(|it| self.kept.get_mut(it)) {
            kept.open = true;
        }
    }

    /// Somebody may be owed what is after one position up to another.
    pub(super) fn owed_between(&mut self, after: Position, upto: Position) {
        let first = self.index(after.next()).unwrap_or(0);
        for kept in self.kept.iter_mut().skip(first) {
            if kept.outgoing.position > upto {
                break;
            }
            kept.open = true;
        }
    }

    /// What is at this position is sent to nobody any more.
    pub(super) fn withdraw(&mut self, position: Position) {
        if let Some(kept) = self.index(position).and_then(|it| self.kept.get_mut(it)) {
            kept.gone = true;
        }
    }

    /// Those to which this applies are in the log no more; they go, with all before them.
    pub(super) fn forget(&mut self, pruned: impl Fn(&Outgoing) -> bool) {
        let last = self.kept.iter().rposition(|kept| pruned(&kept.outgoing));
        for _ in 0..last.map_or(0, |last| last + 1) {
            self.let_go();
        }
    }

    /// What follows `after`, up to `upto`, for one stream. None if it does not reach back so far, or if too much has to be
    /// looked at: then the log is read.
    pub(super) fn page(
        &mut self,
        viewer: &Viewer,
        (naming, framing): (Naming, Framing),
        (after, upto): (Position, Position),
        now: Timestamp,
    ) -> Option<Arc<ServedPage>> {
        let mut covers = after;
        let (mut looked_at, mut bytes) = (0, 0);
        let mut selected: Vec<&Kept> = Vec::new();
        let mut verdicts = false;
        for kept in self.kept.iter().skip(self.index(after.next())?) {
            let outgoing = &kept.outgoing;
            if outgoing.position > upto {
                break;
            }
            looked_at += outgoing.audience.recipients().len();
            if looked_at > MAX_LOOKED_AT {
                break;
            }
            if !outgoing.lapsed(now)
                && !kept.gone
                && outgoing.audience.includes(&viewer.user, &viewer.roles)
            {
                bytes += outgoing.frame.bytes(naming, framing).len();
                if bytes > PAGE_BYTES && !selected.is_empty() {
                    break;
                }
                verdicts |= kept.open;
                selected.push(kept);
            }
            covers = outgoing.position;
        }
        if covers == after {
            return None;
        }
        let kind = variant(naming, framing);
        let complete = covers >= upto;
        if let Some(last) = &self.pages[kind]
            && !verdicts
            && (last.covers, last.complete) == (covers, complete)
            && last.notes.len() == selected.len()
            && last
                .notes
                .iter()
                .zip(&selected)
                .all(|(note, kept)| note.position == kept.outgoing.position)
        {
            return Some(Arc::clone(last));
        }
        let page = Arc::new(ServedPage {
            run: join(
                &mut BytesMut::with_capacity(bytes),
                selected.iter().map(|kept| &*kept.outgoing),
                naming,
                framing,
            ),
            notes: selected
                .iter()
                .map(|kept| Note {
                    position: kept.outgoing.position,
                    sent: if kept.open {
                        served(&kept.outgoing, viewer)
                    } else {
                        Vec::new()
                    },
                })
                .collect(),
            covers,
            complete,
        });
        if !verdicts {
            self.pages[kind] = Some(Arc::clone(&page));
        }
        Some(page)
    }
}
