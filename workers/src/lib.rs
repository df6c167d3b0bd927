//! The workers: for each queue one actix actor that runs a [`handler::Handler`].

pub mod handler;
pub mod providers;
pub mod services;
