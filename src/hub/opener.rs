//! Opens streams, those that want it at the same time together.
//!
//! Opening takes a step in the stream thread, one in a thread that reads, and, at a user's first visit, one in the thread that
//! writes. When thousands come back at once, taking each step for one after the other costs more than what is done in it. So
//! whoever wants a stream while others are being opened is opened with the next lot: one admission for all, one snapshot, one
//! commit. A lone one waits for nobody.
//!
//! The order of the steps is what makes it sound. Streams are admitted first: from there on nothing that is published
//! passes them by. Then what was decided before is made durable, so that an id which a client is told proves what it has
//! seen. Only then are their places looked up, and the requests answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::opening::AT_A_TIME;
use super::subscribe::{SubscribeError, Subscription};
use crate::clock::Timestamp;
use crate::config::Stream;
use crate::events;
use crate::fanout::{Admission, Admit, Fanout};
use crate::log::{Cursor, Epoch, Position};
use crate::registry::Registration;
use crate::sse::{Bye, Connected, Frame, GapScope, Naming};
use crate::store::{Start, StartQuery, Store, Viewer};

/// A stream that has its place in the registry, and what is to become of it.
pub(super) struct Wanted {
    pub(super) registration: Registration,
    pub(super) viewer: Viewer,
    pub(super) naming: Naming,
    /// When it ends at the latest, and what it is told then.
    pub(super) ends: (Timestamp, Bye),
    /// The event id that the client brought, as it came.
    pub(super) cursor: Option<String>,
    pub(super) now: Timestamp,
    /// Dropped without a word when the hub stops.
    pub(super) answer: oneshot::Sender<Result<Subscription, SubscribeError>>,
}

/// The one that opens.
pub(super) struct Opener {
    pub(super) fanout: Fanout,
    pub(super) store: Arc<dyn Store>,
    pub(super) epoch: Epoch,
    pub(super) config: Stream,
    pub(super) wanted: mpsc::Receiver<Wanted>,
}

/// Who waits for a stream that is being admitted.
struct Waiting {
    connection: Uuid,
    viewer: Viewer,
    naming: Naming,
    cursor: Option<String>,
    now: Timestamp,
    answer: oneshot::Sender<Result<Subscription, SubscribeError>>,
}

/// A stream that is admitted, on its way to its place.
struct Opening {
    admission: Admission,
    cursor: Option<Position>,
    /// What its client brought is a place in another log, or in none.
    foreign: bool,
    waiting: Waiting,
}

impl Wanted {
    fn split(self) -> (Admit, Waiting) {
        let waiting = Waiting {
            connection: self.registration.connection(),
            viewer: self.viewer,
            naming: self.naming,
            cursor: self.cursor,
            now: self.now,
            answer: self.answer,
        };
        let admit = Admit {
            registration: self.registration,
            naming: self.naming,
            ends: self.ends,
        };
        (admit, waiting)
    }
}

impl Opener {
    /// Opens streams until the hub stops.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut together = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                taken = self.wanted.recv_many(&mut together, AT_A_TIME) => if taken == 0 { return },
            }
            self.open(together.drain(..)).await;
        }
    }

    async fn open(&self, wanted: impl Iterator<Item = Wanted>) {
        // Whoever is gone by now need not be opened.
        let (streams, waiting): (Vec<_>, Vec<_>) = wanted
            .filter(|wanted| !wanted.answer.is_closed())
            .map(Wanted::split)
            .unzip();
        if streams.is_empty() {
            return;
        }
        // None if the hub stops.
        let Some(admissions) = self.fanout.admit(streams).await else {
            return;
        };
        let locate = |(admission, waiting)| self.locate(admission, waiting);
        let openings: Vec<Opening> = admissions.into_iter().zip(waiting).map(locate).collect();
        // What was decided before these streams were admitted is durable before they are told anything: whoever brings
        // back an id from one has seen all that was undecided at or below that id.
        let starts = match self.store.flush().await {
            Ok(()) => self.store.start(self.queries(&openings)).await,
            Err(error) => vec![Err(error); openings.len()],
        };
        for (opening, start) in openings.into_iter().zip(starts) {
            match start {
                Ok(start) => self.answer(opening, start),
                Err(error) => {
                    let _ = opening.waiting.answer.send(Err(error.into()));
                }
            }
        }
    }

    fn locate(&self, admission: Admission, waiting: Waiting) -> Opening {
        let brought = waiting.cursor.as_deref();
        let (cursor, foreign) = match brought.map_or(Cursor::None, |text| self.epoch.locate(text)) {
            Cursor::None => (None, false),
            Cursor::At(position) if position <= admission.fanned => (Some(position), false),
            Cursor::At(_) | Cursor::Foreign => (None, true),
        };
        Opening {
            admission,
            cursor,
            foreign,
            waiting,
        }
    }

    fn queries(&self, openings: &[Opening]) -> Vec<StartQuery> {
        let query = |opening: &Opening| StartQuery {
            viewer: opening.waiting.viewer.clone(),
            cursor: opening.cursor,
            head: opening.admission.fanned,
            replay_limit: self.config.replay_limit,
            now: opening.waiting.now,
        };
        openings.iter().map(query).collect()
    }

    /// Gives whoever waits their stream. If nobody does any more, dropping it gives it up.
    fn answer(&self, opening: Opening, start: Start) {
        let Opening {
            admission,
            cursor,
            foreign,
            waiting,
        } = opening;
        let Waiting {
            connection,
            viewer,
            naming,
            now,
            answer,
            ..
        } = waiting;
        let head = admission.fanned;
        let gap = match (foreign, start.gap) {
            (true, _) => Some(GapScope::Epoch),
            (false, true) => Some(GapScope::Inbox),
            (false, false) => None,
        };
        match gap {
            Some(GapScope::Epoch) => tracing::warn!(
                event = events::STREAM_GAP,
                scope = "epoch",
                user = %viewer.user,
                "a stream came with a cursor that is not of this log"
            ),
            Some(GapScope::Inbox) => tracing::info!(
                event = events::STREAM_GAP,
                scope = "inbox",
                user = %viewer.user,
                "a stream came with a cursor from too long ago"
            ),
            None => {}
        }
        let place = if gap.is_some() { head } else { start.place };
        let id = self.epoch.event_id(place).to_string();
        let mut frames = vec![Frame::connected(
            Connected {
                retry: self.reconnect_delay(connection),
                id: gap.is_none().then(|| id.clone()),
                user: &viewer.user,
                roles: &viewer.roles,
                connection,
                recovered: gap.is_none() && (cursor.is_some() || place < head),
                broadcasts_missed: start.broadcasts_missed && !foreign,
                heartbeat: self.config.heartbeat,
            },
            now,
        )];
        if let Some(scope) = gap {
            frames.push(Frame::gap(id, scope, now));
        }
        frames.push(Frame::status(start.unread, now));
        let _ = answer.send(Ok(Subscription {
            admission,
            naming,
            frames,
            place,
            owes: start.owes || foreign,
            counted: head,
            proven: cursor.is_some() && gap.is_none(),
        }));
    }

    /// Drawn for each stream, so that clients that lost one server together do not come back together.
    fn reconnect_delay(&self, connection: Uuid) -> Duration {
        let span = self.config.retry_max.saturating_sub(self.config.retry_min);
        let drawn = connection.as_u128() % span.as_millis().max(1);
        self.config.retry_min + Duration::from_millis(u64::try_from(drawn).unwrap_or(0))
    }
}
