//! Why an event could not be handled.

use std::time::Duration;

/// Why an event could not be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Passing: the event is handled again later, and dead-lettered when no attempt is left.
    #[error("{why}")]
    Retry {
        /// For the log and the dead letter's header; no personal data.
        why: String,
        /// At least how long to wait, where the other side said so.
        after: Option<Duration>,
    },
    /// The provider is away, and this event's own matter was not looked at. Once that shows to be no coincidence the
    /// queue is paused and the event waits for the provider; until then it is handled as [`Failure::Retry`].
    #[error("{why}")]
    ProviderUnavailable {
        /// For the log and the dead letter's header; no personal data.
        why: String,
        /// At least how long to wait, where the other side said so.
        after: Option<Duration>,
    },
    /// For good: trying again cannot help, so it is dead-lettered at once.
    #[error("{why}")]
    Reject {
        /// For the log and the dead letter's header; no personal data.
        why: String,
    },
    /// For good: the message's kind is not its queue's, so the event that it names has not failed.
    #[error("{why}")]
    Misdirected {
        /// For the log and the dead letter's header; no personal data.
        why: String,
    },
    /// The event log has no event of this id and kind for this order. Handled once more after the shortest retry delay, since
    /// a database that has just failed over may lag behind the broker; then dead-lettered.
    #[error(
        "the event log has no such event for this order: it was lost when the database was restored, or never happened"
    )]
    NotInLog {
        /// Whether the log has the id for another kind or order. That event has not failed.
        names_another: bool,
    },
}

impl Failure {
    /// Whether the event that the message names has failed. If not, the failure is recorded without that event's id.
    #[must_use]
    pub fn is_of_the_named_event(&self) -> bool {
        !matches!(self, Self::Misdirected { .. } | Self::NotInLog { names_another: true })
    }

    /// A passing failure with the usual wait.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into(), after: None }
    }

    /// Its order is not in this database: it was placed after the backup that was restored, or is none of ours. Known before
    /// anything is done about it.
    #[must_use]
    pub fn no_such_order() -> Self {
        Self::reject("there is no such order")
    }

    /// A failure for good.
    pub fn reject(why: impl Into<String>) -> Self {
        Self::Reject { why: why.into() }
    }
}
