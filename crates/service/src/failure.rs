//! Why an event could not be handled.

use std::time::Duration;

/// Why an event could not be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Transient: the event is retried later, and dead-lettered once its retries are exhausted.
    #[error("{why}")]
    Retry {
        /// For the log and the dead letter's header; no personal data.
        why: String,
        /// The minimum wait, if the other side requested one.
        after: Option<Duration>,
    },
    /// The provider is unavailable, so it has not judged this event. Once the breaker opens, the queue is paused and
    /// the event waits for the provider; until then the event is handled as [`Failure::Retry`].
    #[error("{why}")]
    ProviderUnavailable {
        /// For the log and the dead letter's header; no personal data.
        why: String,
        /// The minimum wait, if the other side requested one.
        after: Option<Duration>,
    },
    /// Permanent: a retry cannot help, so the event is dead-lettered immediately.
    #[error("{why}")]
    Reject {
        /// For the log and the dead letter's header; no personal data.
        why: String,
    },
    /// Permanent: the message's event type is not its queue's, so the event that it names has not failed.
    #[error("{why}")]
    Misdirected {
        /// For the log and the dead letter's header; no personal data.
        why: String,
    },
    /// The event log has no event with this id and type for this order. The message is retried once, after the shortest
    /// delay, since a database that has just failed over may lag behind the broker; then it is dead-lettered.
    #[error(
        "the event log has no such event for this order: it was lost when the database was restored, or never happened"
    )]
    NotInLog {
        /// Whether the log has the id for another event type or order. That event has not failed.
        names_another: bool,
    },
}

impl Failure {
    /// Returns whether the event that the message names has failed. If not, the failure is recorded without that
    /// event's id.
    #[must_use]
    pub fn is_of_the_named_event(&self) -> bool {
        !matches!(self, Self::Misdirected { .. } | Self::NotInLog { names_another: true })
    }

    /// Returns a transient failure with the default delay.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { why: why.into(), after: None }
    }

    /// Returns the failure of an event whose order is not in this database: it was placed after the backup that was
    /// restored, or belongs to another installation. Detected before the handler acts.
    #[must_use]
    pub fn no_such_order() -> Self {
        Self::reject("there is no such order")
    }

    /// Returns a permanent failure.
    pub fn reject(why: impl Into<String>) -> Self {
        Self::Reject { why: why.into() }
    }
}
