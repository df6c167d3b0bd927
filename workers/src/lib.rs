//! The workers: for each queue one actix actor that runs a [`handler::Handler`].
//!
//! [`run`] is the whole process; `main.rs` only reads the command line and the settings.

mod acting;
mod actor;
mod breaker;
mod failure_log;
pub mod handler;
mod head;
mod health;
mod isolation;
mod pace;
mod persist;
mod prepare;
mod process;
pub mod providers;
mod reconciler;
mod record;
pub mod registry;
pub mod services;
mod settings;
mod settle;
mod shell;

pub use process::{RunError, run};
pub use registry::Registry;
pub use settings::Settings;
