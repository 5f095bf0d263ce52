//! Pruning by hand, for administrators: one bounded step for each request.
//!
//! `campanile prune` calls it until nothing is left. A request that did it all would hold its connection for as long as
//! that takes, and whoever hung up would not know how far it came.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::body::OptionalJson;
use super::problem::Problem;
use crate::auth::Caller;
use crate::config::{Retention, duration};
use crate::hub::{Hub, PruneError};
use crate::notification::FieldError;
use crate::store::{Aged, Pruned};

/// How long to keep what; what is not named, as the hub is configured.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub(crate) struct Wanted {
    notifications: Option<String>,
    broadcasts: Option<String>,
    idempotency: Option<String>,
    audit: Option<String>,
    webhooks: Option<String>,
    /// Count, and delete nothing.
    dry_run: bool,
}

impl Wanted {
    fn over(&self, configured: &Retention) -> Result<Retention, Problem> {
        let mut wrong = Vec::new();
        let mut age = |field: &str, text: &Option<String>, configured: Duration| {
            let Some(text) = text else { return configured };
            duration::parse(text).unwrap_or_else(|error| {
                wrong.push(FieldError {
                    field: field.to_owned(),
                    message: error.to_string(),
                });
                configured
            })
        };
        let kept = Retention {
            notifications: age(
                "notifications",
                &self.notifications,
                configured.notifications,
            ),
            broadcasts: age("broadcasts", &self.broadcasts, configured.broadcasts),
            idempotency: age("idempotency", &self.idempotency, configured.idempotency),
            audit: age("audit", &self.audit, configured.audit),
            webhooks: age("webhooks", &self.webhooks, configured.webhooks),
        };
        if wrong.is_empty() {
            Ok(kept)
        } else {
            Err(Problem::invalid(wrong))
        }
    }
}

/// What is told.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Counted { left: Aged },
    Pruned { pruned: Aged, more: bool },
}

/// `POST /prune`.
pub(crate) async fn prune(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    OptionalJson(wanted): OptionalJson<Wanted>,
) -> Result<axum::Json<Answer>, Problem> {
    let kept = wanted.over(hub.retention())?;
    if wanted.dry_run {
        let left = hub.aged(&kept).await?;
        return Ok(axum::Json(Answer::Counted { left }));
    }
    let Pruned { gone, more, .. } = hub.prune(&kept).await?;
    if gone.total() > 0 {
        tracing::info!(gone = gone.total(), by = %caller.publisher(), "pruned by hand");
    }
    Ok(axum::Json(Answer::Pruned { pruned: gone, more }))
}

impl From<PruneError> for Problem {
    fn from(error: PruneError) -> Self {
        match error {
            PruneError::Invalid(invalid) => {
                let field = invalid
                    .key
                    .strip_prefix("retention.")
                    .unwrap_or(invalid.key);
                Self::field(field, invalid.problem)
            }
            PruneError::Store(error) => error.into(),
        }
    }
}
