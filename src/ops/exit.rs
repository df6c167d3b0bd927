//! How commands end.

use std::process::{ExitCode, Termination};

use orderflow_service::{
    broker::{BrokerError, NotReady, PublishError},
    config::ConfigError,
    store::StoreError,
};

use super::lack::explained;
use crate::broker::ManagementError;

/// The exit status of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or the check holds.
    Ok,
    /// The check does not hold, or something was not found.
    No,
    /// Invalid use or settings.
    Usage,
    /// It could not be checked or done: something is unreachable.
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

/// Why a command failed; its text is shown to the operator.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Settings are missing or invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database failed.
    #[error("{}", explained(.0))]
    Store(#[from] StoreError),
    /// A migration failed.
    #[error("{}", orderflow_service::telemetry::chain(.0))]
    Migrate(#[from] orderflow_service::store::migrations::MigrateError),
    /// The order could not be read.
    #[error("the order cannot be read: {}\n`orderflow doctor` says what is wrong with the installation", explained(.0))]
    Why(StoreError),
    /// The audit is incomplete; what was found until then is written.
    #[error("not everything could be checked: {}\n`orderflow doctor` says what is wrong with the installation", explained(.0))]
    Audit(StoreError),
    /// Some parts could not be read; the others are written.
    #[error("{}", .0.join("\n"))]
    Incomplete(Vec<String>),
    /// RabbitMQ's management API failed.
    #[error("{}", .0.explained())]
    Management(#[from] ManagementError),
    /// RabbitMQ failed.
    #[error("{}", orderflow_service::telemetry::chain(.0))]
    Broker(#[from] BrokerError),
    /// RabbitMQ is not ready, or something is missing there.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// RabbitMQ did not accept a message.
    #[error("a message could not be sent: {0}")]
    Publish(#[from] PublishError),
    /// The named thing does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Invalid use.
    #[error("{0}")]
    Usage(String),
    /// A file could not be written.
    #[error("{path} cannot be written: {source}; nothing was discarded")]
    File {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The database's URL is invalid.
    #[error("DATABASE_URL cannot be used: {0}")]
    DatabaseUrl(#[from] diesel::ConnectionError),
    /// The front end failed to start, or stopped unexpectedly.
    #[error("{0}")]
    Serve(String),
    /// Output could not be written, for example to a full disk.
    #[error("the output could not be written: {0}")]
    Output(#[from] std::io::Error),
    /// Output could not be serialized.
    #[error("the output could not be serialized as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Failed {
    /// Returns whether the output could not be written because its reader has left. Other write errors do not count.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        let kind = match self {
            Self::Output(error) => Some(error.kind()),
            // JSON is written while it is serialized, so its error can contain the writer's.
            Self::Json(error) => error.io_error_kind(),
            _ => None,
        };
        kind == Some(std::io::ErrorKind::BrokenPipe)
    }

    /// Returns the exit status for this failure.
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
