//! `GET /healthz` and `GET /readyz`

use actix_web::{HttpResponse, http::header, web::Data};
use serde_json::json;

use super::{
    app::App,
    problem::{Code, Problem},
};

/// Answers that the process runs.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(json!({ "status": "alive" }))
}

/// Answers whether the process accepts requests, and in what condition the broker and the database are.
///
/// # Errors
/// 503 before the first database connection, and while stopping.
pub async fn ready(app: Data<App>) -> Result<HttpResponse, Problem> {
    if app.stop.is_cancelled() {
        return Err(Problem::new(Code::NotReady, "Stopping: the process is finishing the requests in progress."));
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
