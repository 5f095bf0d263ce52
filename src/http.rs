//! The routes, all of them in one place.
//!
//! Each says who may call it, and `route.rs` puts that check in front of its handler. Tests walk the same table and call each
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
mod route;
mod secure;
mod sign_in;
mod status;
mod stream;
mod tickets;
mod users;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::handler::Handler;
use axum::http::Method;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::IntoResponse;
use axum::routing::MethodRouter;
use tower::util::MapResponseLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use self::access::{CredentialRules, Gate};
use self::body::BodyTimeout;
use self::problem::Problem;
use self::route::{Route, delete, file, get, patch, post, put};
use self::secure::secured;
use self::stream::RetrySpread;
use crate::address::Proxies;
use crate::config::Config;
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
struct Api(Arc<Parts>);

struct Parts {
    hub: Hub,
    codes: Codes,
    body_timeout: BodyTimeout,
    retry: RetrySpread,
    proxies: Proxies,
}

impl Api {
    fn new(hub: Hub, config: &Config, codes: Codes) -> Self {
        Self(Arc::new(Parts {
            hub,
            codes,
            body_timeout: BodyTimeout(config.serve.body_timeout),
            retry: RetrySpread::new(config),
            proxies: Proxies::new(&config.serve.trusted_proxies),
        }))
    }
}

impl FromRef<Api> for Hub {
    fn from_ref(Api(parts): &Api) -> Self {
        parts.hub.clone()
    }
}

impl FromRef<Api> for Codes {
    fn from_ref(Api(parts): &Api) -> Self {
        parts.codes.clone()
    }
}

impl FromRef<Api> for BodyTimeout {
    fn from_ref(Api(parts): &Api) -> Self {
        parts.body_timeout
    }
}

impl FromRef<Api> for RetrySpread {
    fn from_ref(Api(parts): &Api) -> Self {
        parts.retry
    }
}

impl FromRef<Api> for Proxies {
    fn from_ref(Api(parts): &Api) -> Self {
        parts.proxies.clone()
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
    let routes = api_routes(config.serve.alias.as_deref());
    Assembly::new(hub, config, Codes::new())
        .with(routes)
        .finish()
}

/// All routes, for a hub that has the server for itself: those of [`router`], probes, pruning, and the console, for which it
/// redeems these sign-in codes. Every other path is 404.
pub fn standalone(hub: Hub, config: &Config, codes: Codes) -> Router {
    let mut routes = api_routes(config.serve.alias.as_deref());
    routes.extend(own_routes());
    let assembly = Assembly::new(hub, config, codes).with(routes);
    assembly.and_nothing_else().finish()
}

/// `/metrics` and `/healthz` without credentials, for an address of their own.
pub(crate) fn scraping(hub: Hub, config: &Config) -> Router {
    let assembly = Assembly::new(hub, config, Codes::new()).with(scrape_routes());
    assembly.and_nothing_else().finish()
}

/// What answers whoever speaks plain HTTP to an address that speaks TLS.
pub(crate) fn not_encrypted() -> Router {
    Router::new().fallback(|| async { secured(Problem::not_encrypted().into_response()) })
}

/// A router on its way.
struct Assembly {
    router: Router<Api>,
    gate: Gate,
    api: Api,
    cors: Option<CorsLayer>,
}

impl Assembly {
    fn new(hub: Hub, config: &Config, codes: Codes) -> Self {
        Self {
            router: Router::new(),
            gate: Gate {
                hub: hub.clone(),
                rules: CredentialRules::new(config, hub.authenticator()),
                spread: RetrySpread::new(config),
            },
            api: Api::new(hub, config, codes),
            cors: cors(&config.serve.cors_origins),
        }
    }

    /// With these routes, each behind its check.
    fn with(mut self, routes: Vec<Route>) -> Self {
        for (path, methods) in route::build(routes, &self.gate) {
            let methods = self.shared(methods);
            self.router = self.router.route(&path, methods);
        }
        self
    }

    /// Every other path is 404.
    fn and_nothing_else(self) -> Self {
        let unknown = route::unknown(self.gate.clone());
        self.fallback(unknown)
    }

    /// On every path this refusal, which is counted elsewhere.
    fn refusing<H, T>(self, handler: H) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        let handler = route::uncounted(handler, self.gate.clone());
        self.fallback(handler)
    }

    fn fallback(mut self, handler: MethodRouter<Api>) -> Self {
        let handler = self.shared(handler).with_state(self.api.clone());
        self.router = self.router.fallback_service(handler);
        self
    }

    /// The same for pages of the configured origins. Around each path's handlers and not around the router: that may be merged
    /// into another application's, whose own answers are not ours to change.
    fn shared(&self, methods: MethodRouter<Api>) -> MethodRouter<Api> {
        match &self.cors {
            // A browser's preflight gets no further than that layer, and is to say what every answer says.
            Some(cors) => methods.layer((MapResponseLayer::new(secured), cors.clone())),
            None => methods,
        }
    }

    fn finish(self) -> Router {
        self.router.with_state(self.api)
    }
}

/// Exact origins with credentials, if there are any; the configuration has refused `*`, which browsers do not take together
/// with them.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("idempotency-key"),
            header::CACHE_CONTROL,
        ])
        .expose_headers([header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE);
    Some(cors)
}
