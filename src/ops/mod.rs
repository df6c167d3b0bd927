//! The operator's commands: thin, over store and broker.
//!
//! Each says what it did in one line or a table, or as JSON for machines, and ends with an [`Exit`].

pub mod audit;
pub mod config;
pub mod dlq;
pub mod doctor;
mod exit;
pub mod migrate;
mod missing;
pub mod republish;
pub mod stock;
pub mod topology;
pub mod why;
mod words;

pub use exit::{Exit, Failed};
