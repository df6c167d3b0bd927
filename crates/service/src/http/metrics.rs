//! `GET /metrics`

use actix_web::{HttpResponse, http::header::CONTENT_TYPE, web::Data};

use crate::{metrics, store::Database};

/// OpenMetrics 1.0, which Prometheus reads like its own format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns all metrics of the process. The pool is measured now; everything else was counted as it happened.
pub async fn answer(database: Data<Database>) -> HttpResponse {
    database.measure();
    HttpResponse::Ok().insert_header((CONTENT_TYPE, OPEN_METRICS)).body(metrics::text())
}
