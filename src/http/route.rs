//! A route: who may call it, what it does, and what all routes' answers have in common.
//!
//! A route cannot be made without saying who may call it, and the check stands in front of its handler because [`build`]
//! puts it there: a handler that forgot its check could not be written.
//!
//! The check, the count, the line in the log and the headers are one handler around the route's own, not a stack of
//! middleware: each layer costs every request a copy of the service in a box and a future in another, through all of which
//! each wake has to find its way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::header::HeaderValue;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, any, on};
use tower_http::set_header::SetResponseHeaderLayer;

use super::Api;
use super::access::{Access, Gate};
use super::page::File;
use super::problem::Problem;
use super::secure::{RESOURCE_POLICY, secured};
use crate::events;
use crate::metrics::Answers;

/// What stands for the route of a request that no route is for, or that is refused whatever it asks for.
const NO_ROUTE: &str = "none";

/// A route, and who may call it.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: Cow<'static, str>,
    pub(super) access: Access,
    /// Puts its handler behind the check of the place it has found.
    handler: Box<dyn FnOnce(Arc<Place>) -> MethodRouter<Api>>,
    /// Whether HEAD is answered like GET. Not where GET does something.
    head: bool,
}

impl Route {
    fn new<H, T>(
        method: (Method, MethodFilter),
        path: impl Into<Cow<'static, str>>,
        access: Access,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        let (method, filter) = method;
        Self {
            head: method == Method::GET,
            method,
            path: path.into(),
            access,
            handler: Box::new(move |place| on(filter, Checked::new(access, handler, place))),
        }
    }

    /// Pages of other origins may load it without asking: it is public, and the same for everybody.
    pub(super) fn for_everybody(self) -> Self {
        let everybody = HeaderValue::from_static("cross-origin");
        let header = SetResponseHeaderLayer::overriding(RESOURCE_POLICY, everybody);
        let handler = self.handler;
        Self {
            handler: Box::new(|place| handler(place).layer(header)),
            ..self
        }
    }

    pub(super) fn without_head(mut self) -> Self {
        self.head = false;
        self
    }
}

/// A function for each method, by which the table's lines begin.
macro_rules! methods {
    ($($name:ident: $method:ident),+ $(,)?) => {$(
        pub(super) fn $name<H, T>(
            path: impl Into<Cow<'static, str>>,
            access: Access,
            handler: H,
        ) -> Route
        where
            H: Handler<T, Api>,
            T: 'static,
        {
            Route::new((Method::$method, MethodFilter::$method), path, access, handler)
        }
    )+};
}
methods!(get: GET, post: POST, put: PUT, patch: PATCH, delete: DELETE);

pub(super) fn file(path: &'static str, access: Access, file: File) -> Route {
    let serve = move |headers: HeaderMap| async move { file.serve(&headers) };
    get(path, access, serve)
}

/// Where handlers stand: which route's, behind which gate.
pub(super) struct Place {
    pattern: Cow<'static, str>,
    gate: Gate,
    answers: Arc<Answers>,
}

impl Place {
    fn new(pattern: Cow<'static, str>, gate: Gate) -> Arc<Self> {
        let answers = gate.hub.counted().route(pattern.clone());
        Self::counting(pattern, gate, answers)
    }

    fn counting(pattern: Cow<'static, str>, gate: Gate, answers: Arc<Answers>) -> Arc<Self> {
        Arc::new(Self {
            pattern,
            gate,
            answers,
        })
    }
}

/// A handler behind its check, whose answers are counted and told to the log, and have the headers that all answers have.
#[derive(Clone)]
struct Checked<H> {
    access: Access,
    handler: H,
    place: Arc<Place>,
}

/// Tells a checked handler's arguments from those of the handler in it.
struct Behind<T>(PhantomData<T>);

impl<H> Checked<H> {
    fn new(access: Access, handler: H, place: Arc<Place>) -> Self {
        Self {
            access,
            handler,
            place,
        }
    }
}

impl<H, T> Handler<Behind<T>, Api> for Checked<H>
where
    H: Handler<T, Api>,
    T: 'static,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, api: Api) -> Self::Future {
        Box::pin(async move {
            let Self {
                access,
                handler,
                place,
            } = self;
            let (method, begun) = (request.method().clone(), Instant::now());
            let response = match place.gate.admit(access, request).await {
                Ok(request) => handler.call(request, api).await,
                Err(refusal) => refusal,
            };
            let status = response.status().as_u16();
            // A stream counts when it is opened.
            place.answers.answered(status);
            // The route's pattern and not its path, no query and no header: what is secret or personal may stand in any of
            // those.
            tracing::debug!(
                %method,
                event = events::REQUEST_ANSWERED,
                route = &*place.pattern,
                status,
                elapsed_ms = begun.elapsed().as_millis(),
                "answered"
            );
            secured(response)
        })
    }
}

/// The routes by path, each behind its check: what is not among a path's methods is 405.
pub(super) fn build(
    routes: Vec<Route>,
    gate: &Gate,
) -> BTreeMap<Cow<'static, str>, MethodRouter<Api>> {
    struct Found {
        place: Arc<Place>,
        methods: MethodRouter<Api>,
        allowed: Vec<Method>,
    }
    let mut paths: BTreeMap<Cow<'static, str>, Found> = BTreeMap::new();
    for route in routes {
        let path = paths.entry(route.path.clone()).or_insert_with(|| Found {
            place: Place::new(route.path.clone(), gate.clone()),
            methods: MethodRouter::new(),
            allowed: Vec::new(),
        });
        if path.allowed.contains(&route.method) {
            tracing::warn!(path = %route.path, "the alias is a route already; it is left as it is");
            continue;
        }
        path.allowed.push(route.method);
        if route.head {
            path.allowed.push(Method::HEAD);
        }
        let handler = (route.handler)(Arc::clone(&path.place));
        path.methods = std::mem::take(&mut path.methods).merge(handler);
    }
    let refusing = |found: Found| {
        let allowed = found.allowed;
        let takes_head = allowed.contains(&Method::HEAD) || !allowed.contains(&Method::GET);
        let refuse = move || async move { Problem::method_not_allowed(&allowed) };
        let refuse = Checked::new(Access::Public, refuse, found.place);
        let methods = if takes_head {
            found.methods
        } else {
            found.methods.on(MethodFilter::HEAD, refuse.clone())
        };
        methods.fallback(refuse)
    };
    paths
        .into_iter()
        .map(|(path, found)| (path, refusing(found)))
        .collect()
}

/// What answers where there is no route.
pub(super) fn unknown(gate: Gate) -> MethodRouter<Api> {
    let refuse = || async { Problem::not_found("there is no such path") };
    let place = Place::new(NO_ROUTE.into(), gate);
    any(Checked::new(Access::Public, refuse, place))
}

/// What answers every request, and is counted elsewhere.
pub(super) fn uncounted<H, T>(handler: H, gate: Gate) -> MethodRouter<Api>
where
    H: Handler<T, Api>,
    T: 'static,
{
    let place = Place::counting(NO_ROUTE.into(), gate, Arc::default());
    any(Checked::new(Access::Public, handler, place))
}
