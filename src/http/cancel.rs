//! `DELETE /notifications/{id}`: takes back what has reached nobody.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::problem::Problem;
use crate::auth::Caller;
use crate::delivery::Which;
use crate::hub::{CancelError, Hub};

const UNKNOWN: &str = "there is no such notification";

/// Cancels it; the id may also be a reference. What is somebody else's is 404, whether it exists or not.
pub(crate) async fn cancel(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id.map_err(|_| Problem::not_found(UNKNOWN))?;
    let by = caller.publisher();
    let own = (!caller.scopes().admin).then(|| by.clone());
    hub.cancel(Which::parse(&id), own, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Unknown => Self::not_found(UNKNOWN),
            CancelError::TooLate => Self::conflict(
                "it is on its way, or somebody has it: only what is scheduled, or has failed for all its recipients, can be cancelled",
            ),
            CancelError::Store(error) => error.into(),
        }
    }
}
