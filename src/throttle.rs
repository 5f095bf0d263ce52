//! At most one in a window: a publisher's later ones are answered with the one that was accepted.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::audience::identifier;
use crate::config::duration;
use crate::notification::FieldError;

/// The shortest window.
pub const MIN_WINDOW: Duration = Duration::from_secs(1);
/// The longest window.
pub const MAX_WINDOW: Duration = Duration::from_hours(30 * 24);

/// A throttle as a draft asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleDraft {
    /// What is throttled, in the publisher's own words: `ticket-768`.
    pub key: String,
    /// For how long after one was accepted the others are held off: `24h`; [`MIN_WINDOW`] to [`MAX_WINDOW`].
    pub window: String,
}

/// At most one notification of a publisher for this key in this window, counted from the last that was accepted. The same
/// key with another window is another throttle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Throttle {
    /// An identifier as [`crate::audience::identifier`] gives it.
    pub key: Arc<str>,
    /// From [`MIN_WINDOW`] to [`MAX_WINDOW`].
    pub window: Duration,
}

impl ThrottleDraft {
    /// Checks both fields.
    ///
    /// # Errors
    /// What is wrong with each.
    pub(crate) fn check(&self) -> Result<Throttle, Vec<FieldError>> {
        let wrong = |field: &str, message: String| FieldError {
            field: format!("throttle.{field}"),
            message,
        };
        let key = identifier(&self.key).map_err(|error| wrong("key", error.to_string()));
        let window = duration::parse(&self.window)
            .map_err(|error| wrong("window", error.to_string()))
            .and_then(|window| {
                if (MIN_WINDOW..=MAX_WINDOW).contains(&window) {
                    Ok(window)
                } else {
                    let (min, max) = (duration::format(MIN_WINDOW), duration::format(MAX_WINDOW));
                    Err(wrong("window", format!("must be from {min} to {max}")))
                }
            });
        match (key, window) {
            (Ok(key), Ok(window)) => Ok(Throttle { key, window }),
            (key, window) => Err(key.err().into_iter().chain(window.err()).collect()),
        }
    }
}
