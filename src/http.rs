//! The routes, all of them in one place, and what every answer has in common.
//!
//! A route cannot stand in the table without saying who may call it, and the table's builder, not the handler, puts the
//! check in front of it: a new route that forgot its check could not be written. Tests walk the same table and call each
//! route without credentials. Handlers only translate between HTTP and [`Hub`]; nothing here decides about delivery.

mod access;
mod audit;
mod batch;
mod body;
mod cancel;
mod client;
mod crowded;
mod deliveries;
mod handover;
mod inbox;
mod keys;
mod metrics;
mod page;
mod patience;
mod problem;
mod prune;
mod publish;
mod query;
mod queue;
mod reading;
mod reminders;
mod secure;
mod sign_in;
mod status;
mod stream;
mod tickets;
mod users;
mod webhooks;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRef, MatchedPath, Request};
use axum::handler::Handler;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, any, on};
use tower::util::MapResponseLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use self::access::{CredentialRules, Gate, admit, admit_cron};
use self::body::BodyTimeout;
use self::page::File;
use self::problem::Problem;
use self::secure::{RESOURCE_POLICY, secured};
use self::stream::RetrySpread;
use crate::address::Proxies;
use crate::config::Config;
use crate::events;
use crate::hub::Hub;

pub use self::access::Access;
pub(crate) use self::crowded::refusing;
pub(crate) use self::handover::{ConnectionService, Encrypted, FlushWatch, Transfer};
pub(crate) use self::patience::Patience;
pub use self::sign_in::{CODE_LIFETIME, Codes, MAX_CODES};

/// How long a browser may remember what a preflight allowed.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// Where streams are, besides the alias.
pub(crate) const STREAM_PATH: &str = "/notifications/stream";

/// What stands for the route of a request that no route is for.
const NO_ROUTE: &str = "none";

/// What publishers, readers and administrators call: these also mount in other applications.
fn api_routes(alias: Option<&str>) -> Vec<Route> {
    use Access::{Admin, ByAction, Known, Public, Publish, Reader, ReaderOrAdmin, Stream};
    let mut routes = vec![
        get(STREAM_PATH, Stream, stream::stream).without_head(),
        post("/notifications/stream/ticket", Reader, tickets::issue),
        post("/notifications", ByAction, publish::one_endpoint),
        get("/notifications", Known, inbox::list),
        post(
            "/notifications/create-and-notify",
            Publish,
            publish::create_and_notify,
        ),
        post("/notifications/broadcast", Publish, publish::broadcast),
        post("/notifications/batch", Publish, batch::batch),
        post("/notifications/test", Reader, publish::test),
        post("/notifications/{id}/read", Reader, reading::read),
        post("/notifications/read-all", Reader, reading::read_all),
        get("/notifications/{id}", ReaderOrAdmin, inbox::one),
        delete("/notifications/{id}", Publish, cancel::cancel),
        get(
            "/notifications/{id}/deliveries",
            Publish,
            deliveries::of_one,
        ),
        get(
            "/notifications/{id}/webhooks",
            Publish,
            webhooks::of_notification,
        ),
        get("/deliveries", Publish, deliveries::search),
        get("/reminders", Publish, reminders::list),
        put("/reminders/{key}", Publish, reminders::keep),
        get("/reminders/{key}", Publish, reminders::get),
        delete("/reminders/{key}", Publish, reminders::remove),
        get("/reminders/{key}/history", Publish, reminders::history),
        get("/notifications/status", ReaderOrAdmin, status::status),
        get("/notifications/connections", Admin, status::connections),
        get("/queue", Admin, queue::waiting),
        get("/queue/diagnosis", Admin, queue::diagnosis),
        post("/queue/unlock", Admin, queue::unlock),
        get("/audit/duplicates", Admin, audit::duplicates),
        get("/keys", Admin, keys::list),
        post("/keys", Admin, keys::create),
        delete("/keys/{name}", Admin, keys::revoke),
        post("/users/{user}/revoke", Admin, users::revoke),
        get("/webhooks", Admin, webhooks::list),
        post("/webhooks", Admin, webhooks::create),
        get("/webhooks/{id}", Admin, webhooks::one),
        patch("/webhooks/{id}", Admin, webhooks::change),
        delete("/webhooks/{id}", Admin, webhooks::remove),
        post("/webhooks/{id}/rotate", Admin, webhooks::rotate),
        post("/webhooks/{id}/test", Admin, webhooks::test),
        get("/webhooks/{id}/deliveries", Admin, webhooks::history),
        post(
            "/webhooks/{id}/redeliver",
            Admin,
            webhooks::redeliver_failed,
        ),
        post(
            "/webhooks/deliveries/{id}/redeliver",
            Admin,
            webhooks::redeliver_one,
        ),
        file("/campanile.js", Public, page::CLIENT).for_everybody(),
        file("/react.js", Public, page::REACT).for_everybody(),
        file("/openapi.json", Public, page::API),
    ];
    if let Some(path) = alias {
        let stream = get(path.to_owned(), Stream, stream::on_alias);
        routes.push(stream.without_head());
        routes.push(post(path.to_owned(), ByAction, publish::one_endpoint));
    }
    routes
}

/// What a hub has besides that when it has the server for itself: probes, pruning, and the console.
fn own_routes() -> Vec<Route> {
    use Access::{Admin, Cron, Public};
    let mut routes = vec![
        get("/healthz", Public, status::healthz),
        get("/readyz", Public, status::readyz),
        get("/metrics", Admin, metrics::metrics),
        post("/prune", Admin, prune::prune),
        post("/cron/check-overdue", Cron, reminders::check_overdue),
        post("/console/code", Admin, sign_in::code),
        get("/sign-in", Public, sign_in::sign_in).without_head(),
    ];
    let console = page::CONSOLE.iter();
    routes.extend(console.map(|(path, page)| file(path, Public, *page)));
    routes
}

/// What an address has that is for scraping alone: whoever reaches it may read it.
fn scrape_routes() -> Vec<Route> {
    vec![
        get("/healthz", Access::Public, status::healthz),
        get("/metrics", Access::Public, metrics::metrics),
    ]
}

/// A route, and who may call it.
struct Route {
    method: Method,
    path: Cow<'static, str>,
    access: Access,
    handler: MethodRouter<Api>,
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
        Self {
            head: method.0 == Method::GET,
            method: method.0,
            path: path.into(),
            access,
            handler: on(method.1, handler),
        }
    }

    /// Pages of other origins may load it without asking: it is public, and the same for everybody.
    fn for_everybody(mut self) -> Self {
        let everybody = HeaderValue::from_static("cross-origin");
        let header = SetResponseHeaderLayer::overriding(RESOURCE_POLICY, everybody);
        self.handler = self.handler.layer(header);
        self
    }

    fn without_head(mut self) -> Self {
        self.head = false;
        self
    }
}

fn get<H, T>(path: impl Into<Cow<'static, str>>, access: Access, handler: H) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    Route::new((Method::GET, MethodFilter::GET), path, access, handler)
}

fn post<H, T>(path: impl Into<Cow<'static, str>>, access: Access, handler: H) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    Route::new((Method::POST, MethodFilter::POST), path, access, handler)
}

fn patch<H, T>(path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    Route::new((Method::PATCH, MethodFilter::PATCH), path, access, handler)
}

fn put<H, T>(path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    Route::new((Method::PUT, MethodFilter::PUT), path, access, handler)
}

fn delete<H, T>(path: &'static str, access: Access, handler: H) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    Route::new(
        (Method::DELETE, MethodFilter::DELETE),
        path,
        access,
        handler,
    )
}

fn file(path: &'static str, access: Access, file: File) -> Route {
    let serve = move |headers: HeaderMap| async move { file.serve(&headers) };
    get(path, access, serve)
}

/// Every route with its method and who may call it, so that a test can walk them.
#[doc(hidden)]
pub fn route_table() -> Vec<(Method, String, Access)> {
    api_routes(None)
        .into_iter()
        .chain(own_routes())
        .map(|route| (route.method, route.path.into_owned(), route.access))
        .collect()
}

/// What handlers take their parts from.
#[derive(Clone)]
struct Api {
    hub: Hub,
    codes: Codes,
    body_timeout: BodyTimeout,
    retry: RetrySpread,
    proxies: Proxies,
}

impl Api {
    fn new(hub: Hub, config: &Config, codes: Codes) -> Self {
        Self {
            hub,
            codes,
            body_timeout: BodyTimeout(config.serve.body_timeout),
            retry: RetrySpread::new(config),
            proxies: Proxies::new(&config.serve.trusted_proxies),
        }
    }
}

impl FromRef<Api> for Hub {
    fn from_ref(api: &Api) -> Self {
        api.hub.clone()
    }
}

impl FromRef<Api> for Codes {
    fn from_ref(api: &Api) -> Self {
        api.codes.clone()
    }
}

impl FromRef<Api> for BodyTimeout {
    fn from_ref(api: &Api) -> Self {
        api.body_timeout
    }
}

impl FromRef<Api> for RetrySpread {
    fn from_ref(api: &Api) -> Self {
        api.retry
    }
}

impl FromRef<Api> for Proxies {
    fn from_ref(api: &Api) -> Self {
        api.proxies.clone()
    }
}

/// The hub's routes for any axum application: `merge` or `nest` them. They have no fallback and take no path but
/// `/notifications`, `/deliveries`, `/reminders`, `/queue`, `/audit`, `/keys`, `/users`, `/webhooks`, `/campanile.js`, `/react.js`,
/// `/openapi.json`, what is below those, and the configured alias.
///
/// Streams go through the application's own server; behind [`crate::server::serve`] the hub takes their sockets over.
///
/// The cap on streams by address, `stream.per_address`, holds where the application says who the peer is, by axum's
/// `into_make_service_with_connect_info::<SocketAddr>()`; without that no address is known and none is counted. Connections
/// are the application's own affair.
pub fn router(hub: Hub, config: &Config) -> Router {
    let api = Api::new(hub, config, Codes::new());
    let router = assemble(api_routes(config.serve.alias.as_deref()), &api, config);
    finish(router, config).with_state(api)
}

/// All routes, for a hub that has the server for itself: those of [`router`], probes, pruning, and the console, for which it
/// redeems these sign-in codes. Every other path is 404.
pub fn standalone(hub: Hub, config: &Config, codes: Codes) -> Router {
    let api = Api::new(hub, config, codes);
    let mut routes = api_routes(config.serve.alias.as_deref());
    routes.extend(own_routes());
    let router = assemble(routes, &api, config).fallback_service(unknown(&api));
    finish(router, config).with_state(api)
}

/// `/metrics` and `/healthz` without credentials, for an address of their own.
pub(crate) fn scraping(hub: Hub, config: &Config) -> Router {
    let api = Api::new(hub, config, Codes::new());
    let router = assemble(scrape_routes(), &api, config).fallback_service(unknown(&api));
    finish(router, config).with_state(api)
}

/// What answers whoever speaks plain HTTP to an address that speaks TLS.
pub(crate) fn not_encrypted() -> Router {
    Router::new().fallback(|| async { Problem::not_encrypted() })
}

/// What answers where there is no route.
fn unknown(api: &Api) -> MethodRouter {
    let refuse = || async { Problem::not_found("there is no such path") };
    any(refuse).layer(counting(api, NO_ROUTE.into()))
}

/// Counts the answers of one route, in place and without another future around each. A stream counts when it is opened; a
/// browser's preflight is answered before it gets here.
fn counting(
    api: &Api,
    pattern: Cow<'static, str>,
) -> MapResponseLayer<impl Fn(Response) -> Response + Clone + Send + Sync + 'static> {
    let answers = api.hub.counted().route(pattern);
    MapResponseLayer::new(move |response: Response| {
        answers.answered(response.status().as_u16());
        response
    })
}

/// Puts the routes into a router, each behind its check.
fn assemble(routes: Vec<Route>, api: &Api, config: &Config) -> Router<Api> {
    let rules = CredentialRules::new(config, api.hub.authenticator());
    let gate = |access| Gate {
        hub: api.hub.clone(),
        rules: rules.clone(),
        access,
        spread: api.retry,
    };
    by_path(routes, gate)
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            let methods = methods.layer(counting(api, path.clone()));
            router.route(&path, methods)
        })
}

/// What all answers have in common.
fn finish(mut router: Router<Api>, config: &Config) -> Router<Api> {
    if !config.serve.cors_origins.is_empty() {
        router = router.layer(cors(&config.serve.cors_origins));
    }
    router
        .layer(from_fn(traced))
        .layer(MapResponseLayer::new(secured))
}

/// Puts the check in front of each route, and the routes of one path together: what is not among its methods is 405.
fn by_path(
    routes: Vec<Route>,
    gate: impl Fn(Access) -> Gate,
) -> BTreeMap<Cow<'static, str>, MethodRouter<Api>> {
    let mut paths: BTreeMap<Cow<'static, str>, (MethodRouter<Api>, Vec<Method>)> = BTreeMap::new();
    for route in routes {
        let handler = match route.access {
            Access::Public => route.handler,
            Access::Cron => route
                .handler
                .route_layer(from_fn_with_state(gate(Access::Cron), admit_cron)),
            access => route
                .handler
                .route_layer(from_fn_with_state(gate(access), admit)),
        };
        let (methods, allowed) = paths.entry(route.path.clone()).or_default();
        if allowed.contains(&route.method) {
            tracing::warn!(path = %route.path, "the alias is a route already; it is left as it is");
            continue;
        }
        allowed.push(route.method);
        if route.head {
            allowed.push(Method::HEAD);
        }
        *methods = std::mem::take(methods).merge(handler);
    }
    let refusing = |(methods, allowed): (MethodRouter<Api>, Vec<Method>)| {
        let takes_head = allowed.contains(&Method::HEAD) || !allowed.contains(&Method::GET);
        let refuse = move || async move { Problem::method_not_allowed(&allowed) };
        let methods = if takes_head {
            methods
        } else {
            methods.on(MethodFilter::HEAD, refuse.clone())
        };
        methods.fallback(refuse)
    };
    paths
        .into_iter()
        .map(|(path, found)| (path, refusing(found)))
        .collect()
}

/// Exact origins with credentials; the configuration has refused `*`, which browsers do not take together with them.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("idempotency-key"),
            header::CACHE_CONTROL,
        ])
        .expose_headers([header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}

/// One line for each request, at `debug`. The route's pattern and not its path, no query and no header: what is secret
/// or personal may stand in any of those.
async fn traced(path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let (method, begun) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    tracing::debug!(
        %method,
        event = events::REQUEST_ANSWERED,
        route = path.as_ref().map_or(NO_ROUTE, MatchedPath::as_str),
        status = response.status().as_u16(),
        elapsed_ms = begun.elapsed().as_millis(),
        "answered"
    );
    response
}
