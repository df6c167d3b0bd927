//! Answers with pages.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use askama::Template;
use orderflow_service::telemetry;

/// Everything must come from our own origin, nothing may be inline, and no site may frame our pages. `'self'` in
/// connect-src includes WebSockets of the same host.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Returns a page as an answer. It must not be cached: it shows an order, or contains the key of the next one.
pub fn html(status: StatusCode, page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(text) => HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
            .insert_header((header::X_FRAME_OPTIONS, "DENY"))
            .insert_header(("cross-origin-opener-policy", "same-origin"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(text),
        Err(error) => {
            tracing::error!(error = telemetry::chain(&error), "cannot render a page");
            HttpResponse::InternalServerError()
                .content_type("text/plain; charset=utf-8")
                .body("Something went wrong.\n")
        }
    }
}
