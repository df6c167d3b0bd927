//! The front end, `orderflow serve`: accepts orders and shows their progress.
//!
//! One file per endpoint; `routes.rs` lists them. The `orderflow_order` library places and cancels orders.

mod app;
mod auth;
mod body;
#[cfg(test)]
mod body_fuzz;
mod broker_health;
mod cancel_order;
mod client;
mod cookie;
#[cfg(test)]
mod description;
mod endpoint;
mod entry;
mod get_order;
mod health;
mod last_audit;
mod live;
mod open_files;
mod openapi;
mod ops;
mod pages;
mod people;
mod place_order;
mod problem;
mod process;
mod products;
mod queue_forecast;
mod rate_limit;
mod request_id;
mod routes;
mod server;
mod timeline;
mod watch_order;

pub use self::{
    process::{Part, RunError, read_settings, run},
    server::{ServeError, bind, serve},
};
