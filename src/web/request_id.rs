//! The middleware around every request: its id, its line in the log, and the headers that every response has.

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
    web::Data,
};
use orderflow_order::token::OrderLinks;
use orderflow_service::{
    metrics,
    trace::{Kind, Span, trace_id},
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    app::App,
    people,
    problem::{Code, Problem},
};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Debug, Clone)]
struct RequestId {
    id: Uuid,
    traceparent: String,
}

/// Returns the id of this request: a new UUIDv7, never an id that the client sent. An order keeps it as its correlation
/// id.
#[must_use]
pub fn of(request: &HttpRequest) -> Uuid {
    // A request has no id only if it did not pass the middleware, and every request does.
    request.extensions().get::<RequestId>().map_or_else(Uuid::now_v7, |known| known.id)
}

/// Returns the trace context of this request for the work that it causes: our own, never the client's.
#[must_use]
pub fn traceparent(request: &HttpRequest) -> String {
    let known = request.extensions().get::<RequestId>().map(|known| known.traceparent.clone());
    known.unwrap_or_else(|| Span::first(Kind::Server, "request", None).traceparent())
}

/// The order that this request placed, for its line in the log.
#[derive(Debug, Clone, Copy)]
struct PlacedOrder(Uuid);

/// Records which order this request placed.
pub fn placed(request: &HttpRequest, order: Uuid) {
    request.extensions_mut().insert(PlacedOrder(order));
}

/// Gives the request its id, turns a [`Problem`] into its document or page, and writes the access log.
///
/// # Errors
/// None of our own: the middleware has already turned a handler's error into a response.
pub async fn around(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = Uuid::now_v7();
    let mut step = step(&request, id);
    let traceparent = step.as_ref().map_or_else(String::new, Span::traceparent);
    let span = tracing::info_span!("request", request.id = %id, trace.id = trace_id(&traceparent));
    request.extensions_mut().insert(RequestId { id, traceparent });
    let began = Instant::now();
    let outer = span.clone();
    let response = async move {
        let mut response = with_answer(next.call(request).await?, id);
        let links = response.request().app_data::<Data<App>>().map(|app| &app.links);
        let policy = links.map_or("no-referrer", OrderLinks::referrer_policy);
        let headers = response.headers_mut();
        if !headers.contains_key(REFERRER_POLICY) {
            headers.insert(REFERRER_POLICY, HeaderValue::from_static(policy));
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(HEADER, value);
        }
        Ok::<_, Error>(response)
    }
    .instrument(span)
    .await?;
    if let Some(step) = &mut step {
        // Requests that only read are left out: a search for an order would find every poll of its customer.
        if let Some(order) = placed_by(response.request()) {
            step.order(order);
        }
        step.response(response.status().as_u16());
    }
    outer.in_scope(|| log(&response, began));
    Ok(response)
}

/// Returns the request as the first step of a trace. Health checks, operators' requests and assets are not traced: they
/// are frequent and concern no order.
fn step(request: &ServiceRequest, id: Uuid) -> Option<Span> {
    let path = request.path();
    let is_ours = ["/admin", "/ops", "/assets/"].iter().any(|prefix| path.starts_with(prefix));
    if is_ours || matches!(path, "/healthz" | "/readyz") {
        return None;
    }
    let client = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    let (method, route) = (method(request.method()), request.match_pattern());
    let route = route.as_deref().unwrap_or("unknown");
    let mut step = Span::first(Kind::Server, format!("{method} {route}"), client);
    step.request(method, route, id);
    Some(step)
}

/// Returns the order that this request placed.
fn placed_by(request: &HttpRequest) -> Option<Uuid> {
    request.extensions().get::<PlacedOrder>().map(|order| order.0)
}

/// Returns one of a few names, which bounds the number of metric series.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    }
}

fn with_answer(response: ServiceResponse<BoxBody>, id: Uuid) -> ServiceResponse<BoxBody> {
    let request = response.request();
    let answer = match response.response().error() {
        None => return response,
        Some(error) => error.as_error::<Problem>().map_or_else(
            || {
                tracing::error!(%error, "a request failed with an error that has no problem document");
                let problem = Problem::new(Code::Internal, "The cause is logged under this request_id.");
                people::answer(request, &problem, id)
            },
            |problem| people::answer(request, problem, id),
        ),
    };
    response.into_response(answer)
}

/// Logs and measures the request by route, not by path: text that a client made up must not be logged. An order is
/// named by its id.
fn log(response: &ServiceResponse<BoxBody>, began: Instant) {
    let request = response.request();
    let method = method(request.method());
    let (pattern, status, took) = (request.match_pattern(), response.status().as_u16(), began.elapsed());
    let route = pattern.as_deref().unwrap_or("unknown");
    metrics::get().http.answered(method, route, status, took);
    let order = placed_by(request).or_else(|| request.match_info().get("id").and_then(|text| text.parse().ok()));
    tracing::info!(
        method,
        route,
        order.id = order.map(tracing::field::display),
        status,
        milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
}
