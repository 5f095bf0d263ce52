//! Who wants a stream: their turn, their place in the registry, and the stream that [`opener`](super::opener) opens for them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::io::ReaderStream;

use super::Hub;
use super::opener::Wanted;
use super::opening::Turn;
use crate::auth;
use crate::clock::Timestamp;
use crate::fanout::{Admission, Piped};
use crate::log::Position;
use crate::metrics::Shut;
use crate::registry::NoPlace;
use crate::sink::PIPE_BYTES;
use crate::sse::{Bye, Frame, Framing, Naming};
use crate::store::{StoreError, Viewer};
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
    pub(super) admission: Admission,
    pub(super) naming: Naming,
    /// Its first words.
    pub(super) frames: Vec<Frame>,
    pub(super) place: Position,
    pub(super) owes: bool,
    pub(super) counted: Position,
    pub(super) proven: bool,
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
        let (answer, opened) = oneshot::channel();
        let wanted = Wanted {
            registration,
            viewer,
            naming,
            ends,
            cursor,
            now,
            answer,
        };
        // Whatever is left of it when the hub stops is dropped.
        let draining = |_| SubscribeError::Draining;
        hub.wanted.send(wanted).await.map_err(draining)?;
        let subscription = opened.await.map_err(|_| SubscribeError::Draining)??;
        // Whoever is revoked from its admission on is found among the streams; who was revoked between the check of their
        // token and that is found here.
        match hub.authenticator.revocations().check(&user) {
            Ok(()) => Ok(subscription),
            Err(_) => Err(SubscribeError::Revoked),
        }
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
