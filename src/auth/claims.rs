//! What a token says once its signature has been checked: claims by their paths, moments, roles.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::MAX_TOKEN_ROLES;
use crate::audience::identifier;
use crate::clock::Timestamp;

/// A token's claims.
pub(super) type Claims = Map<String, Value>;

/// The claim at a path: `realm_access.roles` is `roles` in `realm_access`. A name that holds dots itself, as namespaced ones
/// do (`https://example.com/roles`), is found first, wherever in the path it stands.
pub(super) fn at<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = claims.get(&path[..dot])?.as_object()?;
        at(inner, &path[dot + 1..])
    })
}

/// The texts of a claim that is an array of them, or one.
pub(super) fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let claim = claim.unwrap_or(&Value::Null);
    let several = claim.as_array().into_iter().flatten();
    claim
        .as_str()
        .into_iter()
        .chain(several.filter_map(Value::as_str))
}

/// A user's name: a text, or a whole number.
pub(super) fn name(claim: Option<&Value>) -> Option<Arc<str>> {
    let text = match claim? {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return None,
    };
    identifier(&text).ok()
}

/// A NumericDate (RFC 7519, section 2): seconds since 1970, possibly with a fraction.
pub(super) fn moment(date: &Value) -> Option<Timestamp> {
    let seconds = date.as_f64().filter(|seconds| *seconds >= 0.0)?;
    // The cast saturates, and `from_millis` stops at the year 9999.
    Some(Timestamp::from_millis((seconds * 1000.0) as u64))
}

/// The roles in these claims, each an array of texts or one text. One that cannot be used does not take the others with it:
/// it is left out, and the log says so.
pub(super) fn usable_roles<'a>(
    user: &str,
    claims: impl Iterator<Item = &'a Value>,
) -> Arc<[Arc<str>]> {
    let mut seen = BTreeSet::new();
    let mut usable: Vec<Arc<str>> = Vec::new();
    let (mut unusable, mut too_many) = (0_usize, 0_usize);
    let claimed = claims.flat_map(|claim| match claim {
        Value::Null => &[],
        Value::Array(roles) => roles.as_slice(),
        single => std::slice::from_ref(single),
    });
    for role in claimed {
        match role.as_str().map(identifier) {
            Some(Ok(role)) if seen.contains(&role) => {}
            Some(Ok(_)) if usable.len() == MAX_TOKEN_ROLES => too_many += 1,
            Some(Ok(role)) => {
                seen.insert(Arc::clone(&role));
                usable.push(role);
            }
            Some(Err(_)) | None => unusable += 1,
        }
    }
    if unusable > 0 {
        tracing::warn!(
            user,
            unusable,
            "a token holds roles that cannot be used; they are left out"
        );
    }
    if too_many > 0 {
        tracing::warn!(
            user,
            too_many,
            "a token holds more than {MAX_TOKEN_ROLES} roles; the rest is left out"
        );
    }
    usable.into()
}
