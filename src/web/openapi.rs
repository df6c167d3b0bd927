//! `GET /openapi.json`

use actix_web::{HttpResponse, http::header::ContentType};

/// Kept by hand, since a description for people says more than one derived from types; the tests below hold it
/// against the routes and the codes.
const DOCUMENT: &str = include_str!("openapi.json");

/// The description of this interface, in OpenAPI 3.1.
pub async fn handle() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(DOCUMENT)
}
