//! Request bodies: bounded in size and time, JSON and nothing else, and errors that name the field.
//!
//! A body is read whole before it is looked at, because a draft is small; so the limit is the memory that one request
//! can cost. Syntax is 400 with its line and column, a type or a field that is not known is 422 with the field's name.
//! Deep nesting costs nothing: what is not part of a draft's fixed shape is skipped without recursion.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use futures::StreamExt;
use http_body::Body as _;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::problem::Problem;
use crate::notification::MAX_DRAFT_BYTES;

/// What a JSON body says it is.
pub(crate) const JSON: &str = "application/json";
/// One JSON document a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// How many edits apart a misspelt field and the one it was meant to be may lie.
const MAX_SUGGESTION_DISTANCE: usize = 2;

/// How long a body may take to arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTimeout(pub(crate) Duration);

/// A JSON object of at most [`MAX_DRAFT_BYTES`], as `T`.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// The same, and the request may also come without a body: then `T`'s default.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

/// The text of a JSON body of at most [`MAX_DRAFT_BYTES`], not looked at yet.
#[derive(Debug)]
pub(crate) struct JsonText(pub(crate) String);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
    BodyTimeout: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let JsonText(text) = JsonText::from_request(request, state).await?;
        object(&text).map(Self)
    }
}

impl<S, T> FromRequest<S> for OptionalJson<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Default,
    BodyTimeout: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        let Json(value) = Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<S> FromRequest<S> for JsonText
where
    S: Send + Sync,
    BodyTimeout: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        content_type(request.headers(), &[JSON])?;
        read(request, MAX_DRAFT_BYTES, BodyTimeout::from_ref(state))
            .await
            .map(Self)
    }
}

/// Which of these types the body says it is.
///
/// # Errors
/// 415 if it is none of them.
pub(crate) fn content_type(
    headers: &HeaderMap,
    accepted: &[&'static str],
) -> Result<&'static str, Problem> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim)
        .unwrap_or_default();
    accepted
        .iter()
        .copied()
        .find(|accepted| given.eq_ignore_ascii_case(accepted))
        .ok_or_else(|| {
            Problem::unsupported(format!(
                "the content-type must be {}",
                accepted.join(" or ")
            ))
        })
}

/// Reads the whole body as text.
///
/// # Errors
/// 413 beyond `limit` bytes, with or without a stated length; 408 if it takes too long; 415 if it is compressed; 400 if
/// it breaks off or is not UTF-8.
pub(crate) async fn read(
    request: Request,
    limit: usize,
    BodyTimeout(timeout): BodyTimeout,
) -> Result<String, Problem> {
    let (head, body) = request.into_parts();
    for coding in head.headers.get_all(CONTENT_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return Err(Problem::unsupported("compressed bodies are not accepted"));
        }
    }
    let stated = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|stated| stated > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    let bytes = tokio::time::timeout(timeout, collect(body, limit))
        .await
        .map_err(|_| Problem::too_slow(timeout))??;
    String::from_utf8(bytes).map_err(|error| {
        Problem::bad_request(format!(
            "the body is not UTF-8 from byte {} on",
            error.utf8_error().valid_up_to()
        ))
    })
}

async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("the body broke off"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Problem::too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads one JSON object.
///
/// # Errors
/// 400 for what is not JSON; 422 naming the field for the rest.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    // Derived types would also take their fields as an array, in the order in which the source happens to list them.
    if !text.trim_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| not_json(&error))?;
        return Err(Problem::field("body", "must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        match error.inner().classify() {
            Category::Data => wrong_field(&field, error.inner()),
            // The parser reports a number in the place of a word as bad syntax, which it is not.
            _ if serde_json::from_str::<IgnoredAny>(text).is_ok() => {
                Problem::field(field, "is not of a type that is known here")
            }
            Category::Io | Category::Syntax | Category::Eof => not_json(error.inner()),
        }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// 400, with the line and column that the parser gives.
pub(crate) fn not_json(error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!("the body is not JSON: {error}"))
}

/// Turns the parser's words into a field and what is wrong with it.
fn wrong_field(path: &str, error: &serde_json::Error) -> Problem {
    let full = error.to_string();
    let words = match full.rfind(" at line ") {
        Some(end) => &full[..end],
        None => &full,
    };
    if let Some((name, known)) = quoted(words, "unknown field `", "`, expected ")
        .or_else(|| quoted(words, "unknown field `", "`, there are no fields"))
    {
        let message = match closest(name, known) {
            Some(meant) => format!("is not a known field; did you mean {meant}?"),
            None => "is not a known field".to_owned(),
        };
        return Problem::field(within(path, name), message);
    }
    if let Some((name, _)) = quoted(words, "missing field `", "`") {
        return Problem::field(within(path, name), "is missing");
    }
    if let Some((name, _)) = quoted(words, "duplicate field `", "`") {
        return Problem::field(within(path, name), "stands there twice");
    }
    let mistaken = quoted(words, "invalid type: ", ", expected ")
        .or_else(|| quoted(words, "invalid value: ", ", expected "));
    if let Some((given, expected)) = mistaken {
        let given = without_text(given);
        return Problem::field(path, format!("must be {expected}, not {given}"));
    }
    if let Some((_, expected)) = quoted(words, "unknown variant `", "`, expected ") {
        return Problem::field(path, format!("must be {expected}"));
    }
    Problem::field(path, format!("cannot be read: {words}"))
}

/// What was given, without its text: that may be a secret in the wrong place, and clients log the answers that they get.
fn without_text(given: &str) -> &str {
    if given.starts_with("string ") {
        "a string"
    } else {
        given
    }
}

/// A field's name with where it stands. The parser's path ends with the field itself or with the object around it.
fn within(path: &str, name: &str) -> String {
    let ends_with_it = path == name || path.ends_with(&format!(".{name}"));
    match path {
        "" | "." | "?" => name.to_owned(),
        path if ends_with_it => path.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// What stands between `before`, at the beginning, and the last `between`; and what follows that.
fn quoted<'a>(words: &'a str, before: &str, between: &str) -> Option<(&'a str, &'a str)> {
    words.strip_prefix(before)?.rsplit_once(between)
}

/// The known field, in back quotes in `known`, that `name` was most likely meant to be.
fn closest<'a>(name: &str, known: &'a str) -> Option<&'a str> {
    let folded = fold(name);
    let distance = |known: &str| edit_distance(&folded, &fold(known));
    known
        .split('`')
        .skip(1)
        .step_by(2)
        .min_by_key(|known| distance(known))
        .filter(|known| distance(known) <= MAX_SUGGESTION_DISTANCE)
}

/// `target_user_id` is `targetUserId` in another convention. Cut short: no field is as long.
fn fold(name: &str) -> Vec<char> {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .take(32)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Levenshtein's distance, by rows.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
