//! The console's own files, the browser client, its React hook and the API's document, embedded in the binary, so that a hub is one
//! file to copy.
//!
//! They are public, since they hold no data, and are asked after on each load (`no-cache`) but sent only when they
//! have changed: their `ETag` is a hash of what is in them. The page may load from the hub and from nowhere else, and no
//! code or style that stands in it inline runs, so a notification's text cannot become either.

use aws_lc_rs::digest;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                           img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An embedded file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    content_type: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
const JSON: &str = "application/json";

/// A file of `static/`.
macro_rules! file {
    ($content_type:ident, $($name:literal),+) => {
        File {
            content_type: $content_type,
            text: include_str!(concat!("../../static/", $($name),+)),
        }
    };
}

/// A module of the console, at the path at which the others import it.
macro_rules! module {
    ($name:literal) => {
        (
            concat!("/console/", $name, ".js"),
            file!(SCRIPT, "console/", $name, ".js"),
        )
    };
}

/// A part of its looks.
macro_rules! style {
    ($name:literal) => {
        (
            concat!("/console/", $name, ".css"),
            file!(STYLE, "console/", $name, ".css"),
        )
    };
}

/// The browser client, which other pages may load as well.
pub(crate) const CLIENT: File = file!(SCRIPT, "campanile.js");
/// The client as a React hook. It imports `react`, which the page that loads it names in an import map.
pub(crate) const REACT: File = file!(SCRIPT, "react.js");
/// The whole API, as OpenAPI 3.1.
pub(crate) const API: File = file!(JSON, "openapi.json");

/// The console, by the paths at which its files are served.
pub(crate) const CONSOLE: &[(&str, File)] = &[
    ("/", file!(HTML, "index.html")),
    ("/favicon.svg", file!(IMAGE, "favicon.svg")),
    style!("base"),
    style!("tower"),
    style!("forms"),
    style!("rooms"),
    module!("api"),
    module!("chart"),
    module!("connection"),
    module!("curl"),
    module!("deliveries"),
    module!("dialog"),
    module!("dom"),
    module!("duplicates"),
    module!("endpoint"),
    module!("endpoint-fields"),
    module!("form"),
    module!("here"),
    module!("inbox"),
    module!("keys"),
    module!("listing"),
    module!("main"),
    module!("minutes"),
    module!("notice"),
    module!("now"),
    module!("outcome"),
    module!("pulse"),
    module!("queue"),
    module!("reminders"),
    module!("route"),
    module!("rung"),
    module!("send"),
    module!("storeys"),
    module!("story"),
    module!("webhooks"),
    module!("words"),
];

impl File {
    /// The file, or 304 to whoever has it already.
    pub(crate) fn serve(self, headers: &HeaderMap) -> Response {
        let tag = self.tag();
        let known = headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().trim_start_matches("W/") == tag);
        let shared = [(ETAG, tag), (CACHE_CONTROL, "no-cache".to_owned())];
        if known {
            return (StatusCode::NOT_MODIFIED, shared).into_response();
        }
        let own = [(CONTENT_TYPE, self.content_type)];
        let mut response = (shared, own, self.text).into_response();
        if self.content_type.starts_with("text/html") {
            let policy = HeaderValue::from_static(PAGE_POLICY);
            response
                .headers_mut()
                .insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }

    /// Half of a SHA-256: enough to tell versions apart, and hashing a few kilobytes costs less than sending them.
    fn tag(self) -> String {
        let hash = digest::digest(&digest::SHA256, self.text.as_bytes());
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]))
    }
}
