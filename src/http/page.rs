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

/// The console.
pub(crate) const INDEX: File = File {
    content_type: "text/html; charset=utf-8",
    text: include_str!("../../static/index.html"),
};
/// Its code.
pub(crate) const CONSOLE: File = File {
    content_type: "text/javascript; charset=utf-8",
    text: include_str!("../../static/console.js"),
};
/// Its looks.
pub(crate) const STYLE: File = File {
    content_type: "text/css; charset=utf-8",
    text: include_str!("../../static/style.css"),
};
/// The browser client, which other pages may load as well.
pub(crate) const CLIENT: File = File {
    content_type: "text/javascript; charset=utf-8",
    text: include_str!("../../static/campanile.js"),
};
/// The client as a React hook. It imports `react`, which the page that loads it names in an import map.
pub(crate) const REACT: File = File {
    content_type: "text/javascript; charset=utf-8",
    text: include_str!("../../static/react.js"),
};
/// The console's mark.
pub(crate) const ICON: File = File {
    content_type: "image/svg+xml",
    text: include_str!("../../static/favicon.svg"),
};
/// The whole API, as OpenAPI 3.1.
pub(crate) const API: File = File {
    content_type: "application/json",
    text: include_str!("../../static/openapi.json"),
};

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
