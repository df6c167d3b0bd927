//! What a list of paths is made of.

use actix_web::Route;

/// One path and what answers there.
pub struct Endpoint {
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// With its parameters, as actix writes them.
    pub path: &'static str,
    /// Sets what answers.
    pub handler: fn(Route) -> Route,
}
