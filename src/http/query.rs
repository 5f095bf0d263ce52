//! The query of a URL, field by field: one that is unknown, given twice or of the wrong form is refused by name, so that
//! a misspelt filter does not pass for one that found nothing.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::problem::Problem;
use crate::clock::Timestamp;
use crate::config::duration;

/// How many rows a listing gives, if nobody says.
pub(crate) const DEFAULT_LIMIT: usize = 100;
/// How many it gives at most.
pub(crate) const MAX_LIMIT: usize = 1_000;

/// What stands behind the `?`, not looked at yet.
#[derive(Debug)]
pub(crate) struct Fields(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Fields {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|_| Problem::bad_request("the query cannot be read"))
    }
}

impl Fields {
    /// A field's text, if it is there.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut found = self.0.extract_if(.., |(key, _)| key == name);
        let first = found.next().map(|(_, value)| value);
        if found.next().is_some() {
            return Err(Problem::field(name, "stands there twice"));
        }
        Ok(first)
    }

    /// The texts of a field that may be given several times.
    pub(crate) fn texts(&mut self, name: &str, most: usize) -> Result<Vec<String>, Problem> {
        let found = self.0.extract_if(.., |(key, _)| key == name);
        let texts: Vec<String> = found.map(|(_, value)| value).collect();
        if texts.len() > most {
            return Err(Problem::field(
                name,
                format!("must not stand there more than {most} times"),
            ));
        }
        Ok(texts)
    }

    /// Whether a field is `true`; without it, or with `false`, it is not.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::field(name, "must be true or false")),
        }
    }

    /// A whole number within a range.
    pub(crate) fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let (least, most) = (range.start(), range.end());
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(Problem::field(
                name,
                format!("must be a whole number from {least} to {most}"),
            )),
        }
    }

    /// How many rows to give.
    pub(crate) fn limit(&mut self) -> Result<usize, Problem> {
        self.limit_to(MAX_LIMIT, DEFAULT_LIMIT)
    }

    /// The same, with bounds of its own.
    pub(crate) fn limit_to(&mut self, most: usize, default: usize) -> Result<usize, Problem> {
        let limit = self.number("limit", 1..=i64::try_from(most).unwrap_or(i64::MAX))?;
        Ok(limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(default))
    }

    /// A moment: RFC 3339, or how long ago (`24h`).
    pub(crate) fn moment(
        &mut self,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Problem> {
        let text = self.text(name)?;
        text.map(|text| moment(name, &text, now)).transpose()
    }

    /// That nothing stands beside a field that says everything by itself.
    pub(crate) fn nothing_beside(self, name: &str) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((other, _)) => Err(Problem::field(
                other.as_str(),
                format!("cannot stand together with {name}"),
            )),
        }
    }

    /// That nothing is left that nobody asked for.
    pub(crate) fn done(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::field(name.as_str(), "is not a known field")),
        }
    }
}

/// A moment in a field: RFC 3339, or how long ago (`24h`).
pub(crate) fn moment(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    let ago = |ago: Duration| now.saturating_sub(ago);
    Timestamp::parse_rfc3339(text)
        .or_else(|_| duration::parse(text).map(ago))
        .map_err(|_| {
            Problem::field(
                name,
                "must be a time in RFC 3339, such as 2026-12-01T09:00:00Z, or how long ago, such as 24h",
            )
        })
}
