//! A page of an inbox: what is asked for, and what is answered over HTTP, on the command line and to whoever embeds the hub.

use std::sync::Arc;

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Unread;
use crate::clock::Timestamp;
use crate::log::Epoch;
use crate::notification::{Labels, Severity};
use crate::store::{InboxEntry, InboxSlice};

/// The most notifications on one page.
pub const MAX_PAGE: usize = 200;
/// How many are on a page if nobody says.
pub const DEFAULT_PAGE: usize = 50;
/// The most severities, and the most modules, that a filter names.
pub const MAX_FILTER: usize = 32;

/// Which part of an inbox: what passes each of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what is not read.
    pub unread: bool,
    /// Of one of these severities; without any, of all.
    pub severities: Vec<Severity>,
    /// From one of these modules, in the form that [`crate::audience::identifier`] gives; without any, from wherever.
    pub modules: Vec<Arc<str>>,
}

impl Filter {
    /// Whether it lets a notification through, as far as its public part decides that.
    pub(crate) fn lets_through(&self, body: &str) -> bool {
        if self.severities.is_empty() && self.modules.is_empty() {
            return true;
        }
        let labels = Labels::of(body);
        let from = |known: &Arc<str>| labels.module.as_ref() == Some(known);
        (self.severities.is_empty() || self.severities.contains(&labels.severity))
            && (self.modules.is_empty() || self.modules.iter().any(from))
    }
}

/// What of an inbox is asked for.
#[derive(Clone, Debug)]
pub struct InboxQuery {
    /// Which part of it.
    pub filter: Filter,
    /// What stands before this event id: the `next_cursor` of the page before. Without it, the newest there is.
    pub before: Option<String>,
    /// How many, from 1 to [`MAX_PAGE`]; fewer or more count as those.
    pub limit: usize,
}

impl Default for InboxQuery {
    fn default() -> Self {
        Self {
            filter: Filter::default(),
            before: None,
            limit: DEFAULT_PAGE,
        }
    }
}

/// A page of an inbox, the newest first.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboxPage {
    /// What is on it. It may be shorter than was asked for, and even empty, though there is more.
    pub notifications: Vec<InboxItem>,
    /// How much of the whole inbox is unread, whatever the filter.
    pub unread: Unread,
    /// Where the next page begins; none if this is the last.
    pub next_cursor: Option<String>,
}

impl InboxPage {
    /// As this log's ids tell it.
    pub fn new(slice: InboxSlice, epoch: &Epoch) -> Self {
        let entries = slice.entries.into_iter();
        Self {
            notifications: entries.map(|entry| InboxItem::new(entry, epoch)).collect(),
            unread: slice.unread,
            next_cursor: slice.next.map(|place| epoch.event_id(place).to_string()),
        }
    }
}

/// A notification in an inbox.
///
/// In JSON its event id, whether it is read, and the public part: what streams carry in `data`.
#[derive(Clone, Debug)]
pub struct InboxItem {
    /// Its place, as streams carry it.
    pub event_id: String,
    /// Its id.
    pub notification_id: Uuid,
    /// When it came into the log.
    pub created_at: Timestamp,
    /// Whether the user has read it.
    pub read: bool,
    /// The public part as one line of JSON.
    pub body: Arc<str>,
}

impl InboxItem {
    /// As this log's ids tell it.
    pub fn new(entry: InboxEntry, epoch: &Epoch) -> Self {
        Self {
            event_id: epoch.event_id(entry.position).to_string(),
            notification_id: entry.id,
            created_at: entry.created_at,
            read: entry.read,
            body: entry.body,
        }
    }
}

impl Serialize for InboxItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The public part is a JSON object with something in it. It is passed on digit for digit: `data` may hold numbers
        // that no parser of ours could give back.
        let public = self.body.strip_prefix('{').unwrap_or_default();
        let item = format!(
            r#"{{"eventId":"{}","read":{},{public}"#,
            self.event_id, self.read
        );
        let item = RawValue::from_string(item).map_err(S::Error::custom)?;
        item.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_passes_each_of_its_lists() {
        let filter = |severities: &[Severity], modules: &[&str]| Filter {
            unread: false,
            severities: severities.to_vec(),
            modules: modules.iter().map(|module| Arc::from(*module)).collect(),
        };
        let order = r#"{"message":"m","severity":"high","module":"orders"}"#;
        let bare = r#"{"message":"m","severity":"medium"}"#;
        let (high, low) = (Severity::High, Severity::Low);
        for (filter, body, passes) in [
            (filter(&[], &[]), bare, true),
            (filter(&[high], &[]), order, true),
            (filter(&[low, high], &["stock", "orders"]), order, true),
            (filter(&[low], &["orders"]), order, false),
            (filter(&[high], &["stock"]), order, false),
            (filter(&[], &["orders"]), bare, false),
            (filter(&[high], &[]), bare, false),
            (filter(&[high], &[]), "not JSON", false),
            (
                filter(&[], &["\u{e9}quipe"]),
                r#"{"module":"e\u0301quipe"}"#,
                true,
            ),
        ] {
            assert_eq!(filter.lets_through(body), passes, "{filter:?} {body}");
        }
    }

    #[test]
    fn an_item_is_its_public_part_digit_for_digit_with_its_place_and_whether_it_is_read() {
        let item = InboxItem {
            event_id: "k3f9a0zz-7".to_owned(),
            notification_id: Uuid::nil(),
            created_at: Timestamp::default(),
            read: true,
            body: r#"{"message":"m","data":{"n":12345678901234567890123,"x":1.50}}"#.into(),
        };
        assert_eq!(
            serde_json::to_string(&item).expect("JSON"),
            r#"{"eventId":"k3f9a0zz-7","read":true,"message":"m","data":{"n":12345678901234567890123,"x":1.50}}"#
        );
    }
}
