//! The operator's commands: a thin layer over store and broker.
//!
//! Each reports its result as a line, a table or JSON, and returns an [`Exit`].

pub mod audit;
pub mod config;
pub mod dlq;
pub mod doctor;
mod exit;
mod lack;
pub mod migrate;
mod missing;
pub mod narrow;
mod principal;
pub mod queues;
pub mod republish;
pub mod retention;
pub mod rights;
pub mod service;
pub mod settings;
pub mod stock;
pub mod top;
pub mod topology;
mod users;
pub mod why;
pub(crate) mod words;

pub use exit::{Exit, Failed};
pub use principal::{Principal, What};
