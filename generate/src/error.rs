//! Errors.

use std::io;

use orderflow_service::RosterError;

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Its path from the root of the repository.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A file lacks the marks of a generated region.
    #[error("{path} needs a line `{begin}`, and below it `{end}`")]
    NoRegion {
        /// Its path from the root of the repository.
        path: String,
        /// The line before the region.
        begin: String,
        /// The line after the region.
        end: &'static str,
    },
    /// A service has an invalid name or consumes nothing.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The description of the events, or a part of it, cannot be serialised.
    #[error("docs/asyncapi.yaml cannot be generated: {0}")]
    Form(String),
    /// The broker's objects cannot be serialised.
    #[error("rabbitmq/definitions.json cannot be generated: {0}")]
    Definitions(String),
}
