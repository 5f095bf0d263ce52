//! Webhooks: what nobody took, or everything, told to other programs.
//!
//! An endpoint says where to and what it wants to hear of. Once the last recipient of a notification has its verdict, the
//! store puts a webhook for each endpoint that wants it into its outbox, in the transaction that wrote that verdict: one
//! for each notification and endpoint, never forgotten and never made twice. `dispatch` claims them and has `sender`
//! send them, signed as Standard Webhooks says, to addresses that are public.
//!
//! | file | holds |
//! | --- | --- |
//! | `signature.rs` | secrets, and what they sign |
//! | `address.rs` | which addresses may be dialled |
//! | `payload.rs` | what stands in a webhook |
//! | `sender.rs` | one request and what came of it |
//! | `dispatch.rs` | the task that sends what waits |

mod address;
mod dispatch;
mod payload;
mod sender;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::address::{Cidr, InvalidCidr, Reach, Resolve, SystemResolver, Unreachable};
pub(crate) use self::dispatch::{Dispatch, Settled};
pub(crate) use self::payload::{recipients_and, test};
pub use self::sender::{Attempt, Outgoing, Sender};
pub use self::signature::{SECRET_PREFIX, Secret};
use crate::audience::{Audience, Recipient};
use crate::clock::Timestamp;
use crate::config;
use crate::notification::Severity;

/// The most endpoints: each decided notification is held against all of them.
pub const MAX_ENDPOINTS: usize = 100;
/// The most roles, modules or severities that a filter names.
pub const MAX_FILTER: usize = 32;
/// The longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;
/// How much of an answer is kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 1_024;
/// The longest `Retry-After` that is honoured.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);
/// How long a secret that was rotated out signs beside the new one.
pub const SECRET_OVERLAP: Duration = Duration::from_hours(24);
/// The most webhooks that one call sends again.
pub const MAX_REDELIVERED: usize = 1_000;

/// When an endpoint hears of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// When somebody it was for has not taken it at the last retry.
    Undelivered,
    /// In any case, once its last recipient has a verdict.
    Always,
}

/// What a draft says about webhooks, in the place of what its endpoints say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// As [`On::Undelivered`], for each endpoint whose filter lets it through.
    Undelivered,
    /// As [`On::Always`], likewise.
    Always,
    /// None.
    Never,
}

impl Choice {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undelivered => "undelivered",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    /// From its name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Undelivered, Self::Always, Self::Never]
            .into_iter()
            .find(|choice| choice.name() == name)
    }
}

/// What a webhook tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Topic {
    /// Somebody did not take a notification.
    #[serde(rename = "notification.undelivered")]
    Undelivered,
    /// A notification was published, and everybody it was for has a verdict.
    #[serde(rename = "notification.created")]
    Created,
    /// Somebody tries the endpoint out.
    #[serde(rename = "webhook.test")]
    Test,
}

impl Topic {
    /// Its name in `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undelivered => "notification.undelivered",
            Self::Created => "notification.created",
            Self::Test => "webhook.test",
        }
    }

    /// From its name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Undelivered, Self::Created, Self::Test]
            .into_iter()
            .find(|topic| topic.name() == name)
    }
}

/// Which notifications an endpoint hears of: those that are in each of its lists that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Addressed to one of these roles.
    pub roles: Vec<Arc<str>>,
    /// From one of these modules.
    pub modules: Vec<Arc<str>>,
    /// Of one of these severities.
    pub severities: Vec<Severity>,
}

/// A program that hears of notifications.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: Uuid,
    /// Where webhooks go.
    pub url: String,
    /// When it hears of one.
    pub on: On,
    /// Of which.
    pub filter: Filter,
    /// What signs.
    pub secret: Secret,
    /// What signed before, and until when it does as well.
    pub old_secret: Option<(Secret, Timestamp)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when nothing has come through.
    pub failing_since: Option<Timestamp>,
    /// Since when it gets nothing, and why.
    pub disabled: Option<Disabled>,
}

/// Why an endpoint gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// Since when.
    pub at: Timestamp,
    /// Who disabled it.
    pub by: DisabledBy,
    /// Those who administer know of it.
    pub told: bool,
}

/// Who disabled an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisabledBy {
    /// An administrator.
    Admin,
    /// Itself: it answered 410.
    Gone,
    /// The hub: nothing had come through for too long.
    Failing,
}

impl DisabledBy {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    /// From its name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Admin, Self::Gone, Self::Failing]
            .into_iter()
            .find(|by| by.name() == name)
    }

    /// What the webhooks that waited for the endpoint are told to have failed of.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Admin => "the endpoint was disabled",
            Self::Gone => "the endpoint answered 410 and was disabled",
            Self::Failing => "the endpoint was disabled because nothing had come through",
        }
    }
}

/// What a notification is held against its endpoints with.
#[derive(Debug)]
pub(crate) struct Decided<'a> {
    pub(crate) audience: &'a Audience,
    pub(crate) publisher: &'a str,
    pub(crate) module: Option<&'a str>,
    pub(crate) severity: Severity,
    pub(crate) choice: Option<Choice>,
    /// Somebody has not taken it at the last retry.
    pub(crate) undelivered: bool,
}

impl Endpoint {
    /// What this endpoint is told of the notification, if anything.
    pub(crate) fn wants(&self, decided: &Decided<'_>) -> Option<Topic> {
        let topic = match (decided.choice, self.on) {
            (Some(Choice::Never), _) => return None,
            (Some(Choice::Always), _) | (None, On::Always) => Topic::Created,
            (Some(Choice::Undelivered), _) | (None, On::Undelivered) => Topic::Undelivered,
        };
        if topic == Topic::Undelivered && !decided.undelivered {
            return None;
        }
        // What tells of an endpoint's failure must not depend on that endpoint.
        if decided.publisher == publisher_about(self.id) {
            return None;
        }
        let Filter {
            roles,
            modules,
            severities,
        } = &self.filter;
        let to_role = |recipient: &Recipient| matches!(recipient, Recipient::Role(role) if roles.contains(role));
        let fits = (roles.is_empty() || decided.audience.recipients().iter().any(to_role))
            && (modules.is_empty()
                || decided
                    .module
                    .is_some_and(|module| modules.iter().any(|known| **known == *module)))
            && (severities.is_empty() || severities.contains(&decided.severity));
        fits.then_some(topic)
    }
}

/// The publisher of what the hub itself says about an endpoint. No caller is called so: theirs begin with `key:` or
/// `user:`.
pub(crate) fn publisher_about(endpoint: Uuid) -> String {
    format!("hub:webhook/{endpoint}")
}

/// When webhooks are tried again, and when an endpoint is given up.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The wait before each retry; after the last the webhook has failed.
    pub delays: Arc<[Duration]>,
    /// An endpoint through which nothing has come for so long is disabled.
    pub disable_after: Duration,
}

impl Schedule {
    /// How often a webhook is sent at most.
    pub fn max_tries(&self) -> usize {
        self.delays.len() + 1
    }
}

impl From<&config::Webhooks> for Schedule {
    fn from(webhooks: &config::Webhooks) -> Self {
        Self {
            delays: webhooks.retry.clone().into(),
            disable_after: webhooks.disable_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(on: On, filter: Filter) -> Endpoint {
        Endpoint {
            id: Uuid::nil(),
            url: "https://example.com/".to_owned(),
            on,
            filter,
            secret: Secret::random(),
            old_secret: None,
            created_at: Timestamp::default(),
            failing_since: None,
            disabled: None,
        }
    }

    #[test]
    fn a_filter_lets_through_what_is_in_each_of_its_lists() {
        let crew = Audience::named(vec!["ann".into()], vec!["CREW".into()]).expect("an audience");
        let decided = |module, severity| Decided {
            audience: &crew,
            publisher: "key:billing",
            module,
            severity,
            choice: None,
            undelivered: false,
        };
        let filter = Filter {
            roles: vec!["CREW".into(), "ADMIN".into()],
            modules: vec!["orders".into()],
            severities: vec![Severity::High],
        };
        let picky = endpoint(On::Always, filter);
        let fits = picky.wants(&decided(Some("orders"), Severity::High));
        assert_eq!(fits, Some(Topic::Created));
        assert_eq!(picky.wants(&decided(Some("stock"), Severity::High)), None);
        assert_eq!(picky.wants(&decided(None, Severity::High)), None);
        assert_eq!(picky.wants(&decided(Some("orders"), Severity::Low)), None);
        let all = Audience::everyone();
        let for_all = Decided {
            audience: &all,
            ..decided(Some("orders"), Severity::High)
        };
        assert_eq!(picky.wants(&for_all), None, "everyone is not a role");
    }

    #[test]
    fn a_draft_decides_over_the_heads_of_endpoints() {
        let ann = Audience::named(vec!["ann".into()], Vec::new()).expect("an audience");
        let wants = |on, choice, undelivered| {
            endpoint(on, Filter::default()).wants(&Decided {
                audience: &ann,
                publisher: "key:billing",
                module: None,
                severity: Severity::Medium,
                choice,
                undelivered,
            })
        };
        let (undelivered, created) = (Some(Topic::Undelivered), Some(Topic::Created));
        assert_eq!(wants(On::Undelivered, None, true), undelivered);
        assert_eq!(wants(On::Undelivered, None, false), None);
        assert_eq!(wants(On::Always, None, true), created);
        assert_eq!(wants(On::Always, Some(Choice::Never), true), None);
        assert_eq!(wants(On::Undelivered, Some(Choice::Always), false), created);
        assert_eq!(wants(On::Always, Some(Choice::Undelivered), false), None);
    }

    #[test]
    fn what_tells_of_an_endpoint_never_goes_through_it() {
        let all = Audience::everyone();
        let publisher = publisher_about(Uuid::nil());
        let decided = Decided {
            audience: &all,
            publisher: &publisher,
            module: None,
            severity: Severity::High,
            choice: Some(Choice::Always),
            undelivered: true,
        };
        assert_eq!(
            endpoint(On::Always, Filter::default()).wants(&decided),
            None
        );
    }
}
