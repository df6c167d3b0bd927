//! Starts and stops the front end.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use actix_web::{App as ActixApp, dev::Server, middleware, web::Data};
use futures::FutureExt as _;
use orderflow_order::{payment_kind::PaymentKind, placing::Placing, store::idempotency, token::OrderLinks};
use orderflow_service::{
    broker::{BrokerCheck, Publisher, Relay},
    config::WebConfig,
    housekeeping::{self, Forget},
    http::{self, Bounds},
    store::Database,
    tls::ServerCertificate,
};
use tokio_util::sync::CancellationToken;

use super::{
    app::App, broker_health::BrokerHealth, client::Clients, live::Live, open_files, pages, products::EncodedCatalogue,
    queue_forecast::QueueForecast, rate_limit::RateLimit, request_id, routes::routes,
};

/// How long a stopping process still accepts requests while `/readyz` sends load balancers elsewhere.
const LAME_DUCK: Duration = Duration::from_millis(500);

/// How long requests in flight may take once no new ones are accepted.
const FINISH: Duration = Duration::from_secs(10);

/// Connections besides those of watchers: each takes about 10 kB, and a proxy in front of the shop needs a few dozen.
const CONNECTIONS: usize = 4_096;

/// How much memory clients may make the process use, in bytes. 4,096 waiting orders take about 6 MiB; a page of a
/// thousand products takes half a megabyte. Buffers grow by doubling, so the real figure may be twice that.
const MEMORY: usize = 24 * 1024 * 1024;

/// Why the front end could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The process cannot listen on the address.
    #[error(
        "cannot listen on {address}: {why}; stop the program that listens there, or set LISTEN to another address (port 0 takes a free one)"
    )]
    Listen {
        /// The address in `LISTEN`.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        why: io::Error,
    },
    /// The server ended without being stopped.
    #[error("the HTTP server failed: {0}")]
    Failed(#[source] io::Error),
}

/// Binds the address in `LISTEN`. Call this before anything else starts, so that a port in use is the only thing
/// reported.
///
/// # Errors
/// Returns [`ServeError::Listen`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).map_err(|why| ServeError::Listen { address, why })
}

/// Serves until `stop`, then finishes what is in flight, for at most ten seconds. Refuses orders that this payment
/// provider cannot charge. Logs its address once it listens.
///
/// Must be called on a multi-threaded tokio runtime: transactions and background tasks run there and outlive the
/// request and the server's own threads. The `relay` may still hold events of the last orders when this returns.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    (config, charged_by): (WebConfig, PaymentKind),
    database: Database,
    relay: Relay,
    publisher: Publisher,
    check: BrokerCheck,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    // Tasks that only this server needs end with it, however it ends.
    let background = stop.child_token();
    let _ends_with_us = background.clone().drop_guard();
    let watchers = open_files::bounded(config.live_watchers);
    let config = WebConfig { live_watchers: watchers, ..config };
    let app = Data::new(start((&config, charged_by), database, relay, publisher, check, &stop, &background));
    let placing = app.placing.clone();
    let certificate = config.front_end.certificate.clone();
    let connections = watchers.saturating_add(CONNECTIONS);
    let server = listen(listener, certificate.as_ref(), connections, app).map_err(ServeError::Failed)?;
    let handle = server.handle();
    let stopping = tokio::spawn(async move {
        stop.cancelled().await;
        tokio::time::sleep(LAME_DUCK).await;
        handle.stop(true).await;
    });
    let ended = server.await.map_err(ServeError::Failed);
    stopping.abort();
    placing.drain(FINISH).await;
    ended
}

/// Logs the address and returns the server, which runs once it is awaited.
fn listen(
    listener: TcpListener,
    certificate: Option<&Arc<ServerCertificate>>,
    connections: usize,
    app: Data<App>,
) -> io::Result<Server> {
    let bounds = Bounds { threads: workers(), connections, memory: MEMORY, finish: FINISH };
    let address = listener.local_addr()?;
    let server = http::server(listener, certificate, bounds, move || {
        ActixApp::new()
            .app_data(app.clone())
            .app_data(pages::FOR_PEOPLE)
            .wrap(middleware::from_fn(request_id::around))
            .configure(routes)
    })?;
    tracing::info!(%address, "listening");
    Ok(server)
}

/// Starts everything that a request needs, on the current runtime.
fn start(
    (config, charged_by): (&WebConfig, PaymentKind),
    database: Database,
    relay: Relay,
    publisher: Publisher,
    check: BrokerCheck,
    stop: &CancellationToken,
    background: &CancellationToken,
) -> App {
    let forget_keys: Forget = |connection, limit| idempotency::forget_old(connection, limit).boxed();
    tokio::spawn(housekeeping::run(database.clone(), forget_keys, background.clone()));
    let links = OrderLinks::new(&config.front_end.links);
    pages::live_at(&links);
    App {
        links,
        placing: Placing::start(database.clone(), relay.clone(), charged_by, config.admission, background),
        encoded_catalogue: EncodedCatalogue::default(),
        rate_limit: config
            .rate_limit
            .map(|limit| RateLimit::start(limit, Clients::new(&config.front_end.trusted_proxies), background.clone())),
        queue_forecast: QueueForecast::start(database.clone(), check.clone(), background.clone()),
        broker: BrokerHealth::start(publisher, check, background.clone()),
        live: Live::start(database.clone(), config.live_watchers, background.clone()),
        relay,
        database,
        stop: stop.clone(),
    }
}

/// Returns the number of server threads. Requests cost little compared with the database, so a few threads are enough
/// on any number of cores.
fn workers() -> usize {
    thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}
