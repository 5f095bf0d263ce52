//! What every answer tells the browser not to do with it.
//!
//! Nothing of the hub is to be framed, sniffed, kept, or read by a page of another origin unless CORS lets it; an answer
//! that is no page runs nothing should it be opened as one. What an answer says of itself is left as it is: the page has a
//! policy of its own, and files that anybody may load say so.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::Response;

/// Who may load an answer without asking (Fetch, 3.7). It does not concern requests that ask, by CORS.
pub(crate) const RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

const ALWAYS: [(HeaderName, &str); 6] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (X_FRAME_OPTIONS, "DENY"),
    (RESOURCE_POLICY, "same-origin"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

/// For pages: no window that opened this one, or that it opens, has a hand on it; and nothing here needs a device.
const PAGES: [(HeaderName, &str); 2] = [
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// Adds what the answer does not say itself.
pub(crate) fn secured(mut response: Response) -> Response {
    let is_page = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let pages = if is_page { &PAGES[..] } else { &[] };
    for (name, value) in ALWAYS.iter().chain(pages) {
        let value = HeaderValue::from_static(value);
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}
