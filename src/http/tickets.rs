//! `POST /notifications/stream/ticket`: a credential for one stream, for clients that can put theirs only into the URL.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::problem::Problem;
use crate::auth::{AuthError, Caller, TicketError};
use crate::clock::Timestamp;
use crate::hub::Hub;

/// `POST /notifications/stream/ticket`. What is in the body, if anything, is not looked at.
pub(crate) async fn issue(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Issued {
        ticket: String,
        expires_at: String,
    }
    let ticket = hub
        .authenticator()
        .issue_ticket(&caller, Timestamp::now())?;
    let issued = Issued {
        ticket: ticket.text,
        expires_at: ticket.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, Json(issued)).into_response())
}

impl From<TicketError> for Problem {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::NoUser => Self::forbidden("an API key holds no stream"),
            TicketError::Expired => Self::unauthorized(AuthError::Expired),
            TicketError::TooMany(wait) => {
                Self::too_many("this user has as many tickets as one may have", wait)
            }
            TicketError::Full(wait) => {
                Self::unavailable("as many tickets are good as may be", wait)
            }
        }
    }
}
