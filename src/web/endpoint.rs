//! An entry in a list of paths.

use actix_web::Route;

/// One path and its handler.
pub struct Endpoint {
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// The path with its parameters in actix's notation.
    pub path: &'static str,
    /// Sets the handler on a route.
    pub handler: fn(Route) -> Route,
}
