//! Frames as a stream is given them: put together once for all streams that get the same, with what it means that one of them
//! has been written.

use bytes::Bytes;

use crate::audience::Recipient;
use crate::log::Position;

/// What it means that a frame has been written whole.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// The entry's place.
    pub(crate) position: Position,
    /// The recipients that have it now, where that changes a verdict.
    pub(crate) sent: Vec<Recipient>,
}

/// Frames put together to be written in one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// The frames' bytes.
    pub(crate) bytes: Bytes,
    /// Where each frame ends.
    pub(crate) ends: Vec<usize>,
    /// Whether any of them is for inboxes.
    pub(crate) inbox: bool,
}

/// A page of the log, encoded for one stream.
#[derive(Debug)]
pub(crate) struct ServedPage {
    /// The frames.
    pub(crate) run: Run,
    /// One for each frame.
    pub(crate) notes: Vec<Note>,
    /// How far the page goes.
    pub(crate) covers: Position,
    /// Whether that is as far as was asked.
    pub(crate) complete: bool,
}
