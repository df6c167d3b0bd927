//! What can go wrong with a provider.

use std::time::Duration;

use crate::failure::Failure;

/// Why a provider did not do what it was asked to. Its refusal of the matter itself (a declined card) is an outcome
/// and not an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider itself cannot be reached, does not answer in time, or answers that it cannot serve anybody now
    /// (5xx, 429, SMTP's 421): every other call would fare the same.
    #[error("{why}")]
    Unavailable {
        /// For the log; no personal data, and so no text that the other side wrote.
        why: String,
        /// At least how long to leave it alone, where the provider said so.
        retry_after: Option<Duration>,
    },
    /// This call failed and may succeed later; others need not fail (a greylisted recipient).
    #[error("{why}")]
    Passing {
        /// For the log; no personal data, and so no text that the other side wrote.
        why: String,
        /// At least how long to wait, where the provider said so.
        retry_after: Option<Duration>,
    },
    /// The same call will never succeed.
    #[error("{why}")]
    ForGood {
        /// For the log; no personal data, and so no text that the other side wrote.
        why: String,
    },
}

impl ProviderError {
    /// The provider is away, and does not say for how long.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), retry_after: None }
    }

    /// A passing failure with the usual wait.
    pub fn passing(why: impl Into<String>) -> Self {
        Self::Passing { why: why.into(), retry_after: None }
    }

    /// A failure for good.
    pub fn for_good(why: impl Into<String>) -> Self {
        Self::ForGood { why: why.into() }
    }
}

impl From<ProviderError> for Failure {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Unavailable { why, retry_after } => Self::ProviderUnavailable { why, after: retry_after },
            ProviderError::Passing { why, retry_after } => Self::Retry { why, after: retry_after },
            ProviderError::ForGood { why } => Self::Reject { why },
        }
    }
}
