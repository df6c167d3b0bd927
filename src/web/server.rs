//! Starts and stops the front end.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use actix_web::{App as ActixApp, HttpServer, dev::Server, middleware, web::Data};
use tokio_util::sync::CancellationToken;

use super::{
    App,
    admission::Gate,
    catalogue::CatalogueCache,
    health::BrokerHealth,
    housekeeping,
    intake::{self, Intake},
    last_audit,
    live::Live,
    open_files,
    outlook::Outlook,
    pages,
    rate_limit::RateLimit,
    request_id, routes,
};
use crate::{
    broker::{BrokerCheck, Publisher, Relay},
    config::WebConfig,
    group_commit::GroupCommit,
    store::Database,
    token::OrderLinks,
};

/// How long a stopping process still takes requests while `/readyz` sends load balancers elsewhere.
const LAME_DUCK: Duration = Duration::from_millis(500);

/// How long what is in flight may take once no more is accepted.
const FINISH: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: longer than proxies keep theirs (60 s, mostly), so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a new connection may take for its first request. When this has passed it is answered 408, which a client
/// that opened the connection in advance takes for the answer to the request it is just sending: so it is longer than
/// clients keep unused connections (90 s in hyper, Go and most browsers).
const FIRST_REQUEST: Duration = Duration::from_secs(120);

/// Why the front end could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {why}; stop what listens there, or set LISTEN to another address (port 0 takes a free one)"
    )]
    Listen {
        /// What `LISTEN` says.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        why: io::Error,
    },
    /// The server ended by itself.
    #[error("the HTTP server failed: {0}")]
    Failed(#[source] io::Error),
}

/// Takes the address that `LISTEN` says. Done before anything else is started, so that a port which is taken is all that
/// is said.
///
/// # Errors
/// [`ServeError::Listen`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).map_err(|why| ServeError::Listen { address, why })
}

/// Serves until `stop`, then finishes what is in flight, for at most ten seconds. Logs its address once it listens.
///
/// Has to be called on a multi-threaded tokio runtime: transactions and background tasks run there, whatever becomes
/// of the request or of the server's own threads. Events of the last orders may still be with `relay` when this returns.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    listener: TcpListener,
    config: WebConfig,
    database: Database,
    relay: Relay,
    publisher: Publisher,
    check: BrokerCheck,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    // What is only for this server ends with it, however it ends.
    let background = stop.child_token();
    let _ends_with_us = background.clone().drop_guard();
    let app = Data::new(start(&config, database, relay, publisher, check, &stop, &background));
    let intake = app.intake.clone();
    let server = listen(listener, app).map_err(ServeError::Failed)?;
    let handle = server.handle();
    let stopping = tokio::spawn(async move {
        stop.cancelled().await;
        tokio::time::sleep(LAME_DUCK).await;
        handle.stop(true).await;
    });
    let ended = server.await.map_err(ServeError::Failed);
    stopping.abort();
    intake.drain(FINISH).await;
    ended
}

/// Logs the address. The server runs when it is awaited.
fn listen(listener: TcpListener, app: Data<App>) -> io::Result<Server> {
    let server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(app.clone())
            .app_data(pages::FOR_PEOPLE)
            .wrap(middleware::from_fn(request_id::around))
            .configure(routes)
    })
    .workers(workers())
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(FIRST_REQUEST)
    .shutdown_timeout(FINISH.as_secs())
    .disable_signals()
    .listen(listener)?;
    for address in server.addrs() {
        tracing::info!(%address, "listening");
    }
    Ok(server.run())
}

/// Starts everything that a request needs, on the current runtime.
fn start(
    config: &WebConfig,
    database: Database,
    relay: Relay,
    publisher: Publisher,
    check: BrokerCheck,
    stop: &CancellationToken,
    background: &CancellationToken,
) -> App {
    tokio::spawn(housekeeping::run(database.clone(), background.clone()));
    tokio::spawn(last_audit::run(database.clone(), background.clone()));
    let intake = Intake::new(database.clone(), relay.clone());
    let committing = intake.clone();
    let links = OrderLinks::new(&config.links);
    pages::live_at(&links);
    App {
        links,
        catalogue: CatalogueCache::start(database.clone(), config.charged_by, background.clone()),
        gate: Gate::start(database.clone(), config.admission, background.clone()),
        rate_limit: config.rate_limit.map(|limit| RateLimit::start(limit, &config.trusted_proxies, background.clone())),
        orders: GroupCommit::start(intake::LIMITS, move |batch| committing.clone().commit(batch)),
        outlook: Outlook::start(database.clone(), check.clone(), background.clone()),
        broker: BrokerHealth::start(publisher, check, background.clone()),
        live: Live::start(database.clone(), open_files::bounded(config.live_watchers), background.clone()),
        intake,
        relay,
        database,
        stop: stop.clone(),
    }
}

/// Requests cost little beside the database, so a few threads are enough however many cores there are.
fn workers() -> usize {
    thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}
