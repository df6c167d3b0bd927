//! The errors of calls to providers.

use std::time::Duration;

use crate::failure::Failure;

/// Why a call to a provider failed. A refusal on business grounds, such as a declined card, is an outcome and not an
/// error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider cannot be reached, does not answer in time, or answers that it is unavailable (5xx, 429, SMTP's
    /// 421). Every other call would fail too.
    #[error("{why}")]
    Unavailable {
        /// For the log; no personal data, and so no text that the other side wrote.
        why: String,
        /// The minimum time before the next call, if the provider requested one.
        retry_after: Option<Duration>,
    },
    /// This call failed and may succeed later, such as a mail to a greylisted recipient. Other calls may succeed now.
    #[error("{why}")]
    Transient {
        /// For the log; no personal data, and so no text that the other side wrote.
        why: String,
        /// The minimum wait, if the provider requested one.
        retry_after: Option<Duration>,
    },
    /// The same call will never succeed.
    #[error("{why}")]
    Permanent {
        /// For the log; no personal data, and so no text that the other side wrote.
        why: String,
    },
}

impl ProviderError {
    /// Returns the error of an unavailable provider that requested no wait.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), retry_after: None }
    }

    /// Returns a transient error with the default delay.
    pub fn transient(why: impl Into<String>) -> Self {
        Self::Transient { why: why.into(), retry_after: None }
    }

    /// Returns a permanent error.
    pub fn permanent(why: impl Into<String>) -> Self {
        Self::Permanent { why: why.into() }
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Unavailable { why, retry_after } => Self::ProviderUnavailable { why, after: retry_after },
            ProviderError::Transient { why, retry_after } => Self::Retry { why, after: retry_after },
            ProviderError::Permanent { why } => Self::Reject { why },
        }
    }
}
