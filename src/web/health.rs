//! `GET /healthz` and `GET /readyz`

use actix_web::{HttpResponse, http::header, web::Data};
use serde_json::json;

use super::{
    app::App,
    problem::{Code, Problem},
};

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
