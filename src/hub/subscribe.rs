//! Opening a stream: from a cursor that may be anything to a place in the log and the first words.
//!
//! The order of the steps is what makes it sound. The stream is admitted first: from there on nothing that is published
//! passes it by. Then what was decided before is made durable, so that an id which the client is told proves what it has
//! seen. Only then is its place looked up, and the response answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::Hub;
use super::opening::Turn;
use crate::auth;
use crate::clock::Timestamp;
use crate::events;
use crate::fanout::{Admission, Piped};
use crate::log::{Cursor, Position};
use crate::metrics::Shut;
use crate::registry::NoPlace;
use crate::sink::PIPE_BYTES;
use crate::sse::{Bye, Connected, Frame, Framing, GapScope, Naming};
use crate::store::{StartQuery, StoreError, Viewer};
use crate::stream::Opening;

/// A client that has acknowledged nothing for so long gives its place to a new stream of the same user.
const REAP_SILENCE: Duration = Duration::from_secs(30);
/// Who wants a stream, and from where.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Whose stream; it ends when `expires_at` has come.
    pub user: auth::User,
    /// The event id that the client brought, as it came: what cannot be read is answered with a `gap`.
    pub cursor: Option<String>,
    /// At which network address its client is, if that is known: each may hold so many streams, `stream.per_address`.
    pub address: Option<IpAddr>,
    /// Send all events without their names, for clients that only have `onmessage`.
    pub unnamed: bool,
}

/// Why there is no stream. All of these pass but one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Draining,
    /// The user has as many streams as one may have, and all of them are alive.
    #[error("the user has too many streams open")]
    TooManyStreams,
    /// The client's network address has as many streams as one may have.
    #[error("the address has too many streams open")]
    AddressFull,
    /// More streams are being opened than can be at a time.
    #[error("too many streams are being opened at once")]
    Rush,
    /// The hub has as many streams as it may have.
    #[error("the hub has too many streams open")]
    Full,
    /// What the user has presented was revoked meanwhile. This one does not pass.
    #[error("the user was revoked")]
    Revoked,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stream that is registered already: whatever is published from now on reaches it. Dropping it gives it up.
#[derive(Debug)]
pub struct Subscription {
    admission: Admission,
    naming: Naming,
    frames: Vec<Frame>,
    place: Position,
    owes: bool,
    counted: Position,
    proven: bool,
}

impl Hub {
    /// Opens a stream. When this returns, everything published from then on reaches it.
    ///
    /// # Errors
    /// [`SubscribeError`]; its cases pass, so clients are told to come back, but for [`SubscribeError::Revoked`].
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, SubscribeError> {
        self.subscribe_in_turn(subscribe, None).await
    }

    /// Waits for a turn to open a stream; none if the line is full, or the hub stops.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let hub = &*self.0;
        tokio::select! {
            biased;
            () = hub.draining.cancelled() => None,
            turn = hub.openings.turn() => turn,
        }
    }

    /// Opens a stream, for somebody who may have waited for their turn already.
    pub(crate) async fn subscribe_in_turn(
        &self,
        subscribe: Subscribe,
        turn: Option<Turn>,
    ) -> Result<Subscription, SubscribeError> {
        let opened = self.open(subscribe, turn).await;
        opened.inspect_err(|refusal| {
            if let Some(reason) = Shut::of(refusal) {
                self.0.metrics.shut(reason);
            }
        })
    }

    async fn open(
        &self,
        subscribe: Subscribe,
        turn: Option<Turn>,
    ) -> Result<Subscription, SubscribeError> {
        let hub = &*self.0;
        let turn = match turn {
            Some(turn) => Some(turn),
            None => self.turn().await,
        };
        if hub.draining.is_cancelled() {
            return Err(SubscribeError::Draining);
        }
        let _turn = turn.ok_or(SubscribeError::Rush)?;
        let now = Timestamp::now();
        let Subscribe {
            user,
            cursor,
            address,
            unnamed,
        } = subscribe;
        let viewer = Viewer {
            user: Arc::clone(&user.id),
            roles: Arc::clone(&user.roles),
        };
        let registration = match hub.registry.reserve(viewer.clone(), address, now) {
            Err(NoPlace::User)
                if hub
                    .fanout
                    .reap(Arc::clone(&viewer.user), REAP_SILENCE)
                    .await
                    > 0 =>
            {
                hub.registry.reserve(viewer.clone(), address, now)
            }
            registration => registration,
        }
        .map_err(|no_place| match no_place {
            NoPlace::User => SubscribeError::TooManyStreams,
            NoPlace::Address => SubscribeError::AddressFull,
            NoPlace::Hub => SubscribeError::Full,
        })?;
        let connection = registration.connection();
        let naming = if unnamed {
            Naming::Unnamed
        } else {
            Naming::Named
        };
        let oldest = now.saturating_add(hub.config.stream.max_age);
        let ends = if user.expires_at <= oldest {
            (user.expires_at, Bye::TokenExpired)
        } else {
            (oldest, Bye::Reauth)
        };
        let admission = hub
            .fanout
            .admit(registration, naming, ends)
            .await
            .ok_or(SubscribeError::Draining)?;
        // Whoever is revoked from here on is found among the streams; who was revoked since their token was checked is
        // found here.
        let revocations = hub.authenticator.revocations();
        if revocations.check(&user).is_err() {
            return Err(SubscribeError::Revoked);
        }

        let head = admission.fanned;
        let (cursor, foreign) = match cursor.map_or(Cursor::None, |text| hub.epoch.locate(&text)) {
            Cursor::None => (None, false),
            Cursor::At(position) if position <= head => (Some(position), false),
            Cursor::At(_) | Cursor::Foreign => (None, true),
        };
        // What was decided before this stream was admitted is durable before the stream is told anything: whoever
        // brings back an id from it has seen all that was undecided at or below that id.
        hub.store.flush().await?;
        let start = hub
            .store
            .start(StartQuery {
                viewer: viewer.clone(),
                cursor,
                head,
                replay_limit: hub.config.stream.replay_limit,
                now,
            })
            .await?;
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
        let id = hub.epoch.event_id(place).to_string();
        let mut frames = vec![Frame::connected(
            Connected {
                retry: self.reconnect_delay(connection),
                id: gap.is_none().then(|| id.clone()),
                user: &viewer.user,
                roles: &viewer.roles,
                connection,
                recovered: gap.is_none() && (cursor.is_some() || place < head),
                broadcasts_missed: start.broadcasts_missed && !foreign,
                heartbeat: hub.config.stream.heartbeat,
            },
            now,
        )];
        if let Some(scope) = gap {
            frames.push(Frame::gap(id, scope, now));
        }
        frames.push(Frame::status(start.unread, now));
        Ok(Subscription {
            admission,
            naming,
            frames,
            place,
            owes: start.owes || foreign,
            counted: head,
            proven: cursor.is_some() && gap.is_none(),
        })
    }

    /// Drawn for each stream, so that clients that lost one server together do not come back together.
    fn reconnect_delay(&self, connection: Uuid) -> Duration {
        let stream = &self.0.config.stream;
        let span = stream
            .retry_max
            .saturating_sub(stream.retry_min)
            .as_millis();
        let drawn = connection.as_u128() % span.max(1);
        stream.retry_min + Duration::from_millis(u64::try_from(drawn).unwrap_or(0))
    }
}

impl Subscription {
    /// As a body for whatever server answers the request, in any version of HTTP.
    pub fn into_body(self) -> Body {
        self.into_piped().0
    }

    /// The same, and by what the hub is told that the body's client takes nothing any more.
    pub(crate) fn into_piped(self) -> (Body, Piped) {
        let opening = self.opening(Framing::UntilClose);
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let piped = self.admission.attach_pipe(ours, opening);
        (Body::from_stream(ReaderStream::new(theirs)), piped)
    }

    /// Takes the connection itself, after the response's head has been written to it. The hub writes, watches and closes
    /// `socket`, which must be non-blocking, from here on; `share`, if the server counts its sockets, is given back when
    /// the socket is closed.
    pub fn attach(
        self,
        socket: std::net::TcpStream,
        share: Option<OwnedSemaphorePermit>,
        framing: Framing,
    ) {
        let opening = self.opening(framing);
        self.admission
            .attach_socket(socket, share, framing, opening);
    }

    fn opening(&self, framing: Framing) -> Opening {
        let mut bytes = Vec::new();
        for frame in &self.frames {
            bytes.extend_from_slice(frame.bytes(self.naming, framing));
        }
        Opening {
            bytes: bytes.into(),
            place: self.place,
            owes: self.owes,
            counted: self.counted,
            proven: self.proven,
        }
    }
}
