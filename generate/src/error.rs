//! What can go wrong.

use std::io;

use orderflow_service::RosterError;

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which, from the root of the repository.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file has lost the lines between which something is generated.
    #[error("{path} needs a line `{begin}`, and below it `{end}`")]
    NoRegion {
        /// Which, from the root of the repository.
        path: String,
        /// The line before what is generated.
        begin: String,
        /// The line after it.
        end: &'static str,
    },
    /// A service cannot be called so, or takes nothing.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The description of the events, or a part of it, cannot be written down.
    #[error("docs/asyncapi.yaml cannot be made: {0}")]
    Form(String),
    /// The broker's objects cannot be written down.
    #[error("rabbitmq/definitions.json cannot be made: {0}")]
    Definitions(String),
}
