//! Around every request: its id, its one line in the log, and the headers that every answer has.

use std::time::Instant;

use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::problem::{Code, Problem};
use crate::metrics;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Debug, Clone, Copy)]
struct RequestId(Uuid);

/// The id of this request: ours, a fresh UUIDv7, whatever the client sent. An order keeps it as its correlation id.
#[must_use]
pub fn of(request: &HttpRequest) -> Uuid {
    // Only a request that did not pass the middleware has none, and every request does.
    request.extensions().get::<RequestId>().map_or_else(Uuid::now_v7, |id| id.0)
}

/// Gives the request its id, turns a [`Problem`] into its document, and writes the access log.
///
/// # Errors
/// None of ours: what a handler returns is an answer by then.
pub async fn around(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = Uuid::now_v7();
    request.extensions_mut().insert(RequestId(id));
    let began = Instant::now();
    let span = tracing::info_span!("request", request.id = %id);
    let outer = span.clone();
    let response = async move {
        let mut response = with_document(next.call(request).await?, id);
        let headers = response.headers_mut();
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(HEADER, value);
        }
        Ok::<_, Error>(response)
    }
    .instrument(span)
    .await?;
    outer.in_scope(|| log(&response, began));
    Ok(response)
}

fn with_document(response: ServiceResponse<BoxBody>, id: Uuid) -> ServiceResponse<BoxBody> {
    let document = match response.response().error() {
        None => return response,
        Some(error) => error.as_error::<Problem>().map_or_else(
            || {
                tracing::error!(%error, "a request failed in a way that has no problem document");
                Problem::new(Code::Internal, "The cause is logged under this request_id.").document(id)
            },
            |problem| problem.document(id),
        ),
    };
    response.into_response(document)
}

/// Logs and measures: the route and not the path, since nothing that a client makes up is to be logged; an order is named by its id.
fn log(response: &ServiceResponse<BoxBody>, began: Instant) {
    let request = response.request();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    let (pattern, status, took) = (request.match_pattern(), response.status().as_u16(), began.elapsed());
    let route = pattern.as_deref().unwrap_or("unknown");
    metrics::get().http.answered(method, route, status, took);
    let order = request.match_info().get("id").and_then(|text| text.parse::<Uuid>().ok());
    tracing::info!(
        method,
        route,
        order.id = order.map(tracing::field::display),
        status,
        milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
}
