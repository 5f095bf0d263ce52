//! Reads the log for streams that are not live, and encodes it for them.
//!
//! The stream thread asks, one page at a time for each stream, and never waits; the pages come back through its inbox.
//! What it costs to read and to encode stays off that thread. A page is asked for only when the last is written, so a
//! slow reader slows itself and holds nothing in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::clock::Timestamp;
use crate::fanout::{Address, Command, Counters, Inbox, recipients_of};
use crate::log::{Epoch, Position};
use crate::notification::Kind;
use crate::sse::{Frame, Framing, Naming};
use crate::store::{Page, PageQuery, Store, StoreError, Viewer};
use crate::stream::{Note, Run, ServedPage};

/// How many bytes of bodies a page holds: about what a socket's send buffer takes, since what it does not take is read
/// again.
const PAGE_BYTES: usize = 64 * 1024;
/// How many pages are read at a time: a little more than the store has readers, so that none of them waits for work.
const AT_A_TIME: usize = 4;

/// A page that a stream wants.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) address: Address,
    pub(crate) viewer: Viewer,
    pub(crate) naming: Naming,
    pub(crate) framing: Framing,
    pub(crate) wanted: Wanted,
}

/// Which page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// What is owed to the user by name, from below the stream's place.
    Owed { after: Position, upto: Position },
    /// The log.
    Log { after: Position, upto: Position },
    /// No page: how much of the user's inbox is unread.
    Unread,
}

impl Request {
    /// Up to where the fan-out has come by now, rather than when this was asked: the fewer entries go by while a page is
    /// read, the sooner a stream that is behind is live. All of them have been offered to it, and noted as missed.
    fn brought_up_to(mut self, counters: &Counters) -> Self {
        if let Wanted::Log { upto, .. } = &mut self.wanted {
            let fanned = Position(counters.fanned.load(Ordering::Acquire));
            *upto = fanned.max(*upto);
        }
        self
    }
}

/// Answers requests until the stream thread and all others have let go of the channel.
pub(crate) async fn run(
    requests: mpsc::Receiver<Request>,
    store: Arc<dyn Store>,
    inbox: Arc<Inbox>,
    epoch: Epoch,
    counters: Arc<Counters>,
    page_entries: usize,
) {
    ReceiverStream::new(requests)
        .for_each_concurrent(AT_A_TIME, |request| {
            let (store, inbox, epoch, counters) = (&store, &inbox, &epoch, &counters);
            async move {
                let request = request.brought_up_to(counters);
                inbox.put(answer(&**store, epoch, &request, page_entries).await);
            }
        })
        .await;
}

async fn answer(store: &dyn Store, epoch: &Epoch, request: &Request, limit: usize) -> Command {
    let address = request.address;
    match request.wanted {
        Wanted::Owed { after, upto } | Wanted::Log { after, upto } => {
            let page = read(store, epoch, request, after, upto, limit).await;
            Command::Served(address, page)
        }
        Wanted::Unread => {
            let viewer = request.viewer.clone();
            Command::Counted(address, store.unread(viewer, Timestamp::now()).await)
        }
    }
}

async fn read(
    store: &dyn Store,
    epoch: &Epoch,
    request: &Request,
    after: Position,
    upto: Position,
    limit: usize,
) -> Result<ServedPage, StoreError> {
    let query = PageQuery {
        viewer: request.viewer.clone(),
        after,
        upto,
        limit,
        max_bytes: PAGE_BYTES,
        now: Timestamp::now(),
    };
    let owed = matches!(request.wanted, Wanted::Owed { .. });
    let page = if owed {
        store.owed(query).await?
    } else {
        store.page(query).await?
    };
    Ok(encode(page, owed, upto, epoch, request))
}

fn encode(page: Page, owed: bool, upto: Position, epoch: &Epoch, request: &Request) -> ServedPage {
    let mut bytes = Vec::with_capacity(PAGE_BYTES / 4);
    let mut ends = Vec::with_capacity(page.entries.len());
    let mut notes = Vec::with_capacity(page.entries.len());
    let mut inbox = false;
    for item in page.entries {
        let entry = item.entry;
        // What is owed is behind the stream's cursor: an id would set the client back.
        let id = (!owed).then(|| epoch.event_id(entry.position).to_string());
        let frame = Frame::notification(id, &entry);
        bytes.extend_from_slice(frame.bytes(request.naming, request.framing));
        ends.push(bytes.len());
        inbox |= entry.kind == Kind::Notification;
        notes.push(Note {
            position: entry.position,
            sent: match request.wanted {
                _ if !item.undecided || entry.kind != Kind::Notification => Vec::new(),
                _ => recipients_of(entry.audience.recipients(), &request.viewer),
            },
        });
    }
    ServedPage {
        run: Run {
            bytes: Bytes::from(bytes),
            ends,
            inbox,
        },
        notes,
        covers: page.covers,
        complete: page.covers >= upto,
    }
}
