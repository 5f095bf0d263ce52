//! The names of what the log tells of, so that it can be filtered by them: each line that somebody may want to find
//! again carries one in its field `event`. With `--log-format json` that is `fields.event`.
//!
//! A field, not the name of `tracing`'s own metadata, because subscribers print fields and drop names. The names and
//! the fields beside them are a promise like those of the metrics; the words of a line are not. The README lists them.

/// Nobody took a notification for one recipient, and it is not asked after any more.
pub const RECIPIENT_FAILED: &str = "recipient_failed";
/// The same for recipients that are too many to be named one by one.
pub const RECIPIENTS_FAILED: &str = "recipients_failed";
/// A stream came with a cursor from which it cannot go on.
pub const STREAM_GAP: &str = "stream_gap";
/// The thread that owns the streams has ended, and the hub stops.
pub const STREAM_THREAD_ENDED: &str = "stream_thread_ended";
/// The store cannot read or write. Once, when it begins.
pub const STORE_UNAVAILABLE: &str = "store_unavailable";
/// It can again.
pub const STORE_RECOVERED: &str = "store_recovered";
/// The store is damaged, and the hub stops.
pub const STORE_DAMAGED: &str = "store_damaged";
/// Verdicts that were not written: what they were about may be sent again.
pub const VERDICTS_LOST: &str = "verdicts_lost";
/// A notification broke a rule of the database and was left out of its commit.
pub const PUBLISH_CONFLICT: &str = "publish_conflict";
/// A publisher sent again what it had sent.
pub const DUPLICATE_PUBLISH: &str = "duplicate_publish";
/// What is overdue was published.
pub const REMINDER_PUBLISHED: &str = "reminder_published";
/// A notification was cancelled before anybody had it.
pub const NOTIFICATION_CANCELLED: &str = "notification_cancelled";
/// Somebody else had claimed the same work first.
pub const CLAIM_CONFLICT: &str = "claim_conflict";
/// Claimed work was not done, because what it was about had changed meanwhile.
pub const ABORTED_STATUS_CHANGED: &str = "aborted_status_changed";
/// Claims that had lapsed were taken back.
pub const LEASES_RECLAIMED: &str = "leases_reclaimed";
/// A webhook did not come through, and is tried again.
pub const WEBHOOK_RETRIED: &str = "webhook_retried";
/// A webhook did not come through, and is not tried again.
pub const WEBHOOK_FAILED: &str = "webhook_failed";
/// A webhook was being sent when its hub stopped, and is sent once more.
pub const WEBHOOK_INTERRUPTED: &str = "webhook_interrupted";
/// The hub stopped while webhooks were being sent.
pub const WEBHOOKS_CUT_SHORT: &str = "webhooks_cut_short";
/// An endpoint of webhooks was made.
pub const ENDPOINT_CREATED: &str = "endpoint_created";
/// An administrator changed one, or drew it a new secret.
pub const ENDPOINT_CHANGED: &str = "endpoint_changed";
/// The hub disabled one.
pub const ENDPOINT_DISABLED: &str = "endpoint_disabled";
/// An administrator deleted one.
pub const ENDPOINT_DELETED: &str = "endpoint_deleted";
/// An administrator looked into a user's inbox.
pub const INBOX_VIEWED: &str = "inbox_viewed";
/// An API key was made.
pub const KEY_CREATED: &str = "key_created";
/// An API key was revoked.
pub const KEY_REVOKED: &str = "key_revoked";
/// A new certificate is served.
pub const CERTIFICATE_RELOADED: &str = "certificate_reloaded";
/// What is in the certificate's files cannot be served; the one before still is.
pub const CERTIFICATE_REJECTED: &str = "certificate_rejected";
/// The certificate expires soon, or has expired.
pub const CERTIFICATE_EXPIRES: &str = "certificate_expires";
/// A user's credentials were taken back.
pub const USER_REVOKED: &str = "user_revoked";
/// No connection can be accepted at present.
pub const ACCEPT_FAILED: &str = "accept_failed";
/// Others than its owner can open a file that holds secrets.
pub const FILE_EXPOSED: &str = "file_exposed";
/// A publisher has published as much as one may for the moment. Once a minute at most.
pub const PUBLISHER_LIMITED: &str = "publisher_limited";
/// One network address has as many streams or connections as one may have. Once a minute at most.
pub const ADDRESS_FULL: &str = "address_full";
/// The hub stopped before everything was done.
pub const DRAIN_CUT_SHORT: &str = "drain_cut_short";
/// A request was answered. At `debug`.
pub const REQUEST_ANSWERED: &str = "request_answered";

/// All of them.
pub const ALL: &[&str] = &[
    RECIPIENT_FAILED,
    RECIPIENTS_FAILED,
    STREAM_GAP,
    STREAM_THREAD_ENDED,
    STORE_UNAVAILABLE,
    STORE_RECOVERED,
    STORE_DAMAGED,
    VERDICTS_LOST,
    PUBLISH_CONFLICT,
    DUPLICATE_PUBLISH,
    NOTIFICATION_CANCELLED,
    REMINDER_PUBLISHED,
    CLAIM_CONFLICT,
    ABORTED_STATUS_CHANGED,
    LEASES_RECLAIMED,
    WEBHOOK_RETRIED,
    WEBHOOK_FAILED,
    WEBHOOK_INTERRUPTED,
    WEBHOOKS_CUT_SHORT,
    ENDPOINT_CREATED,
    ENDPOINT_CHANGED,
    ENDPOINT_DISABLED,
    ENDPOINT_DELETED,
    INBOX_VIEWED,
    KEY_CREATED,
    KEY_REVOKED,
    CERTIFICATE_RELOADED,
    CERTIFICATE_REJECTED,
    CERTIFICATE_EXPIRES,
    USER_REVOKED,
    ACCEPT_FAILED,
    ADDRESS_FULL,
    FILE_EXPOSED,
    PUBLISHER_LIMITED,
    DRAIN_CUT_SHORT,
    REQUEST_ANSWERED,
];
