//! `GET /healthz` and `GET /readyz`

use std::time::Duration;

use actix_web::{HttpResponse, http::header, web::Data};
use orderflow_service::{
    broker::{BrokerCheck, NotReady, Publisher},
    periodic,
};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    app::App,
    problem::{Code, Problem},
};

/// How often the broker is asked whether the exchange is there.
const INTERVAL: Duration = Duration::from_secs(5);

/// Whether events get away at once. Orders are taken either way: without a broker their events wait in the outbox.
#[derive(Debug, Clone)]
pub struct BrokerHealth {
    publisher: Publisher,
    exchange: watch::Receiver<bool>,
}

impl BrokerHealth {
    /// Starts to ask the broker, on the current runtime, until `stop`: a connection must not belong to a request.
    #[must_use]
    pub fn start(publisher: Publisher, check: BrokerCheck, stop: CancellationToken) -> Self {
        let (sender, exchange) = watch::channel(false);
        tokio::spawn(async move {
            let mut reported = None;
            loop {
                let found = check.exchange_exists().await;
                if let Err(missing @ (NotReady::Missing(_) | NotReady::NoVhost(_))) = &found
                    && reported.as_ref() != Some(&found)
                {
                    tracing::warn!("{missing}");
                }
                sender.send_replace(found.is_ok());
                reported = Some(found);
                if !periodic::pause(INTERVAL, &stop).await {
                    return;
                }
            }
        });
        Self { publisher, exchange }
    }

    fn as_str(&self) -> &'static str {
        if self.publisher.is_connected() && *self.exchange.borrow() { "ok" } else { "degraded" }
    }
}

/// The process runs.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(json!({ "status": "alive" }))
}

/// The process takes requests.
///
/// # Errors
/// 503 before the database was first reached, and while stopping.
pub async fn ready(app: Data<App>) -> Result<HttpResponse, Problem> {
    if app.stop.is_cancelled() {
        return Err(Problem::new(Code::NotReady, "Stopping: what was begun is being finished."));
    }
    if !app.placing.is_ready() {
        return Err(Problem::new(Code::NotReady, "Starting: the database has not been reached yet."));
    }
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(json!({
        "status": "ready",
        "broker": app.broker.as_str(),
        "database": app.database.condition().as_str(),
    })))
}
