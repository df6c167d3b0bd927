//! The console and API for operators, at `OPS_LISTEN`. They have a server of their own, so that a proxy in front of the
//! shop cannot expose them by mistake, and so that operators can inspect a shop with too many customers.
//!
//! `/metrics`, `/healthz` and `/readyz` are open; operators' data and actions need a token of `OPERATOR_TOKENS`. Every
//! action here also exists as a command and runs the same code in `src/ops`. The log of actions records who did it.

mod actions;
mod auth;
mod console;
mod dead_letters;
mod discards;
mod ended;
mod failed;
mod flow;
mod guesses;
mod links;
mod list;
mod openapi;
mod orders;
mod pages;
mod products;
mod queues;
mod replay_run;
mod replays;
mod session;

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpResponse,
    dev::Server,
    guard,
    http::header,
    middleware,
    web::{self, Data, ServiceConfig},
};
use orderflow_service::{
    http::{self, Bounds},
    store::Database,
    telemetry,
    tls::ServerCertificate,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub use self::console::{Console, ConsoleError};
use super::{
    endpoint::Endpoint,
    health,
    problem::{Code, Problem},
    request_id,
};

/// One thread is enough for a few operators and Prometheus.
const BOUNDS: Bounds =
    Bounds { threads: 1, connections: 256, memory: 16 * 1024 * 1024, finish: Duration::from_secs(30) };

/// Every path of the API.
const ROUTES: &[Endpoint] = &[
    Endpoint { method: "GET", path: "/admin/orders", handler: |route| route.to(orders::list) },
    Endpoint { method: "GET", path: "/admin/orders/{id}", handler: |route| route.to(orders::one) },
    Endpoint { method: "GET", path: "/admin/queues", handler: |route| route.to(queues::list) },
    Endpoint { method: "GET", path: "/admin/dead-letters", handler: |route| route.to(dead_letters::list) },
    Endpoint { method: "GET", path: "/admin/replays", handler: |route| route.to(replays::list) },
    Endpoint { method: "POST", path: "/admin/replays", handler: |route| route.to(replays::begin) },
    Endpoint { method: "GET", path: "/admin/replays/{replay}", handler: |route| route.to(replays::one) },
    Endpoint { method: "GET", path: "/admin/discards", handler: |route| route.to(discards::list) },
    Endpoint { method: "POST", path: "/admin/discards", handler: |route| route.to(discards::discard) },
    Endpoint { method: "GET", path: "/admin/products", handler: |route| route.to(products::list) },
    Endpoint { method: "PUT", path: "/admin/products/{sku}/stock", handler: |route| route.to(products::set_stock) },
    Endpoint { method: "GET", path: "/admin/audit", handler: |route| route.to(actions::list) },
    Endpoint { method: "GET", path: "/admin/openapi.json", handler: |route| route.to(openapi::handle) },
];

/// Returns the server, which runs once it is awaited. Logs its address. `database` is the pool of customers' requests.
/// Without a console it serves only `/metrics` and `/healthz`; the shop's readiness is at `LISTEN`.
///
/// # Errors
/// Fails if the listener cannot be used.
pub fn server(
    listener: TcpListener,
    certificate: Option<&Arc<ServerCertificate>>,
    database: Database,
    console: Option<Console>,
    stop: CancellationToken,
) -> io::Result<Server> {
    let (database, console, stop) = (Data::new(database), console.map(Data::new), Data::new(stop));
    let app = move || {
        let people = web::scope("").wrap(middleware::from_fn(request_id::around));
        let people = match &console {
            Some(console) => {
                let people = people.app_data(console.clone()).app_data(pages::FOR_PEOPLE);
                people.route("/readyz", web::get().to(ready)).configure(routes)
            }
            None => people.default_service(web::to(no_console)),
        };
        App::new()
            .app_data(database.clone())
            .app_data(stop.clone())
            .route("/metrics", web::get().to(http::metrics))
            .route("/healthz", web::get().to(health::alive))
            .service(people)
    };
    let address = listener.local_addr()?;
    let server = http::server(listener, certificate, BOUNDS, app)?;
    tracing::info!(at = %address, "answering operators");
    Ok(server)
}

/// Answers that the console accepts requests. It works without the database and the broker, and shows that they are
/// unavailable.
///
/// # Errors
/// 503 while stopping.
async fn ready(stop: Data<CancellationToken>) -> Result<HttpResponse, Problem> {
    if stop.is_cancelled() {
        return Err(Problem::new(Code::NotReady, "Stopping: the process is finishing the requests in progress."));
    }
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(json!({ "status": "ready" })))
}

async fn no_console() -> Result<&'static str, Problem> {
    let detail =
        "This process runs only the shop and serves /metrics here. Start the console with `orderflow serve console`.";
    Err(Problem::new(Code::NotFound, detail))
}

/// Runs the server. Orders do not depend on it, so if it ends unexpectedly, the process only logs that. Prometheus then
/// sees the process as down.
pub async fn answer(server: Server) {
    let why = server.await.err().map(|error| telemetry::chain(&error));
    tracing::error!(error = why, "the server for operators and Prometheus has stopped; orders are still processed");
}

/// Registers [`ROUTES`] and the pages. Any other path gets a problem document too.
fn routes(config: &mut ServiceConfig) {
    register(config, ROUTES);
    register(config, pages::PAGES);
    config.default_service(web::to(async || {
        Err::<&str, _>(Problem::new(Code::NotFound, "/admin/openapi.json lists every path; the console is at /ops."))
    }));
}

/// Registers these endpoints. Endpoints of the same path must be adjacent.
fn register(config: &mut ServiceConfig, endpoints: &'static [Endpoint]) {
    for here in endpoints.chunk_by(|one, next| one.path == next.path) {
        let Some(first) = here.first() else { continue };
        let mut resource = web::resource(first.path);
        let mut allowed = Vec::new();
        for Endpoint { method, handler, .. } in here {
            let route = match *method {
                "POST" => web::post(),
                "PUT" => web::put(),
                _ => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
            };
            resource = resource.route(handler(route));
            allowed.push(if *method == "GET" { "GET, HEAD" } else { method });
        }
        let allowed = allowed.join(", ");
        let refuse = move || {
            let refused = Problem::new(Code::MethodNotAllowed, format!("Use {allowed}.")).allow(allowed.clone());
            async move { Err::<&str, _>(refused) }
        };
        config.service(resource.default_service(web::to(refuse)));
    }
}
