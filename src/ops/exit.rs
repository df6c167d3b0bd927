//! How commands end.

use std::process::{ExitCode, Termination};

use orderflow_service::{
    broker::{BrokerError, NotReady, PublishError},
    config::ConfigError,
    store::StoreError,
};

use super::lack::explained;
use crate::broker::ManagementError;

/// What a command's exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or: what was checked is so.
    Ok,
    /// What was checked is not so, or was not found.
    No,
    /// Wrong use or settings.
    Usage,
    /// It could not be checked or done: something cannot be reached.
    Unreachable,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Ok => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
        })
    }
}

/// Why a command could not do its work; its text is what the person reads.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Settings are missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error("{}", explained(.0))]
    Store(#[from] StoreError),
    /// A migration.
    #[error("{}", orderflow_service::telemetry::chain(.0))]
    Migrate(#[from] orderflow_service::store::migrations::MigrateError),
    /// An order's story.
    #[error("the order cannot be read: {}\n`orderflow doctor` says what is wrong with the installation", explained(.0))]
    Why(StoreError),
    /// Not everything could be audited; what was found until then is written.
    #[error("not everything could be checked: {}\n`orderflow doctor` says what is wrong with the installation", explained(.0))]
    Audit(StoreError),
    /// Parts of what was asked for; what could be had is written.
    #[error("{}", .0.join("\n"))]
    Incomplete(Vec<String>),
    /// RabbitMQ's management API.
    #[error("{}", .0.explained())]
    Management(#[from] ManagementError),
    /// RabbitMQ.
    #[error("{}", orderflow_service::telemetry::chain(.0))]
    Broker(#[from] BrokerError),
    /// RabbitMQ, or something that should exist there.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// RabbitMQ did not take a message.
    #[error("a message could not be sent: {0}")]
    Publish(#[from] PublishError),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Wrong use.
    #[error("{0}")]
    Usage(String),
    /// A file could not be written.
    #[error("{path} cannot be written: {source}; nothing was thrown away")]
    File {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The database's URL.
    #[error("DATABASE_URL cannot be used: {0}")]
    DatabaseUrl(#[from] diesel::ConnectionError),
    /// The front end failed to start, or stopped unexpectedly.
    #[error("{0}")]
    Serve(String),
    /// Output could not be written, as to a full disk.
    #[error("the output could not be written: {0}")]
    Output(#[from] std::io::Error),
    /// Output could not be turned into JSON.
    #[error("the output has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
}

impl Failed {
    /// Whether the output could not be written because its reader is gone. No other failure to write is meant.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        let kind = match self {
            Self::Output(error) => Some(error.kind()),
            // JSON is written as it is made, and its error has the writer's inside.
            Self::Json(error) => error.io_error_kind(),
            _ => None,
        };
        kind == Some(std::io::ErrorKind::BrokenPipe)
    }

    /// The exit status that fits.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::DatabaseUrl(_) | Self::Serve(_) | Self::Usage(_) | Self::File { .. } => Exit::Usage,
            Self::Broker(BrokerError::NoNode) => Exit::Usage,
            Self::Output(_) | Self::Json(_) | Self::NotFound(_) => Exit::No,
            Self::Management(ManagementError::Refused { .. }) => Exit::Usage,
            Self::Store(_) | Self::Migrate(_) | Self::Management(_) => Exit::Unreachable,
            Self::Broker(_) | Self::NotReady(_) | Self::Publish(_) => Exit::Unreachable,
            Self::Why(_) | Self::Audit(_) | Self::Incomplete(_) => Exit::Unreachable,
        }
    }
}
