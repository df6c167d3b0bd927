//! `/healthz`, `/readyz` and `/metrics` of a worker.

use std::{
    io,
    net::TcpListener,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_web::{App, HttpResponse, dev::Server, web};
use serde_json::json;

use crate::{
    broker::BrokerCheck,
    call_guard::CallGuard,
    http::{self, Bounds},
    pipeline::worker_context::WorkerContext,
    store::Condition,
};

/// How long the database may take to answer. Health probes have time-outs of a few seconds themselves.
const PATIENCE: Duration = Duration::from_secs(3);

/// One thread is enough for health checks and Prometheus.
const BOUNDS: Bounds =
    Bounds { threads: 1, connections: 128, memory: 8 * 1024 * 1024, finish: Duration::from_secs(30) };

/// The sources of the health report.
#[derive(Clone)]
pub struct Health {
    /// The process.
    pub process: WorkerContext,
    /// Checks the broker.
    pub check: BrokerCheck,
    /// The guards of the providers.
    pub guards: Vec<Arc<CallGuard>>,
    /// How many queues this process should consume.
    pub queues: usize,
}

/// Returns the server. Await it on the actix system.
///
/// # Errors
/// Fails if the listener cannot be used.
pub fn server(listener: TcpListener, health: Health) -> io::Result<Server> {
    let database = web::Data::new(health.process.database.clone());
    let health = web::Data::new(health);
    let app = move || {
        App::new()
            .app_data(health.clone())
            .app_data(database.clone())
            .route("/metrics", web::get().to(http::metrics))
            .route("/healthz", web::get().to(healthz))
            .route("/readyz", web::get().to(readyz))
    };
    http::server(listener, None, BOUNDS, app)
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// Reports ready only with the database, the broker and all of the worker's queues consumed. A worker whose provider is
/// unavailable is ready: it consumes one message at a time, and no other worker could do better.
async fn readyz(health: web::Data<Health>) -> HttpResponse {
    let draining = health.process.stop.is_cancelled();
    let answers = health.process.database.answers(PATIENCE).await;
    let database = if answers { health.process.database.condition() } else { Condition::Unavailable };
    let broker = health.process.publisher.is_connected() && health.check.exchange_exists().await.is_ok();
    let consuming = health.process.consuming.load(Ordering::Relaxed);
    let ready = !draining && database == Condition::Ok && broker && consuming == health.queues;
    let paused: Vec<_> =
        health.guards.iter().filter(|guard| guard.is_unavailable()).map(|guard| guard.name()).collect();
    let ok = |good: bool| if good { "ok" } else { "unavailable" };
    let body = json!({
        "status": if draining { "draining" } else if ready { "ready" } else { "not_ready" },
        "database": database.as_str(),
        "broker": ok(broker),
        "paused": paused,
        "queues": { "consumed": consuming, "wanted": health.queues },
    });
    if ready { HttpResponse::Ok().json(body) } else { HttpResponse::ServiceUnavailable().json(body) }
}
