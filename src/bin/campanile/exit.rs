//! The exit status of each kind of failure, read off the error itself wherever in the chain of causes it stands. So
//! the commands need not say it, and two of them cannot disagree. `campanile --help` documents the numbers.

use std::process::ExitCode;

use campanile::auth::SecretError;
use campanile::config::ConfigError;
use campanile::server::{OpenError, RunError};
use campanile::store::sqlite::CopyError;
use campanile::store::{OpenStoreError, StoreError};

use crate::client::CallError;

/// Why the program ends without having done what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did not work.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// The store or the secret cannot be opened.
    Store = 3,
    /// The hub cannot be reached.
    Unreachable = 4,
    /// The hub refused the credentials.
    NotAllowed = 5,
}

/// Wrong usage that the command line's grammar cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

impl Exit {
    /// What `error` amounts to.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(Self::of_cause)
            .unwrap_or(Self::Failed)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if cause.is::<Usage>() || cause.is::<ConfigError>() {
            return Some(Self::Usage);
        }
        if let Some(RunError::Damaged(_)) = cause.downcast_ref() {
            return Some(Self::Store);
        }
        if cause.is::<SecretError>() || cause.is::<OpenStoreError>() {
            return Some(Self::Store);
        }
        if let Some(error) = cause.downcast_ref::<CopyError>() {
            return matches!(error, CopyError::Open(_)).then_some(Self::Store);
        }
        if let Some(error) = cause.downcast_ref::<OpenError>() {
            return match (error.is_config(), error.is_store()) {
                (true, _) => Some(Self::Usage),
                (_, true) => Some(Self::Store),
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            let is_taken_name = matches!(error, StoreError::Conflict(_));
            return (!is_taken_name).then_some(Self::Store);
        }
        match cause.downcast_ref::<CallError>()? {
            CallError::Unreachable { .. } => Some(Self::Unreachable),
            CallError::Refused {
                status: 401 | 403, ..
            } => Some(Self::NotAllowed),
            CallError::Refused { .. } | CallError::NotAHub { .. } => Some(Self::Failed),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error and its causes as one line; a cause that the message before it already tells is not told again.
pub(crate) fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let words: Vec<&str> = cause.split_whitespace().collect();
        let cause = words.join(" ");
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_status_is_found_below_what_was_said_about_it() {
        let usage: anyhow::Result<()> = Err(Usage("no".to_owned()).into());
        let error = usage.context("more words").expect_err("an error");
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert_eq!(in_one_line(&error), "more words: no");
        let other = anyhow::anyhow!("two\nlines");
        assert_eq!(Exit::of(&other), Exit::Failed);
        assert_eq!(in_one_line(&other), "two lines");
    }

    #[test]
    fn a_hub_that_refuses_the_credentials_is_told_from_one_that_refuses_the_request() {
        let refused = |status| {
            let problem = String::new();
            Exit::of(&CallError::Refused { status, problem }.into())
        };
        assert_eq!(refused(401), Exit::NotAllowed);
        assert_eq!(refused(403), Exit::NotAllowed);
        assert_eq!(refused(422), Exit::Failed);
    }
}
