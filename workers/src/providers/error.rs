//! What can go wrong with a provider, and the bound on every call to one.

use std::{future::Future, path::PathBuf, time::Duration};

use crate::handler::Failure;

/// Why a provider did not do what it was asked to. Its refusal of the matter itself (a declined card) is an outcome
/// and not an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The same call may succeed later.
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
            ProviderError::Passing { why, retry_after } => Self::Retry { why, after: retry_after },
            ProviderError::ForGood { why } => Self::Reject { why },
        }
    }
}

/// A setting that no provider can be made from.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSetupError {
    /// The sender's address.
    #[error("MAIL_FROM: expected the form Orderflow <orders@shop.example>; got {given:?}")]
    MailFrom {
        /// What was set.
        given: String,
    },
    /// The directory for mails.
    #[error("MAIL: the directory {} cannot be made: {source}", directory.display())]
    MailDirectory {
        /// What was set.
        directory: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The mail server. The URL holds a password, so it is not shown.
    #[error("SMTP_URL: {expected}")]
    SmtpUrl {
        /// What would be right.
        expected: &'static str,
    },
}

/// What a call to a provider comes to, after at most `limit`: nobody waits for an answer that never comes. `whom`
/// names the other side for the log.
///
/// # Errors
/// Those of the call, and a passing failure when the time is over: the effect may have happened all the same, which
/// is what the idempotency key is for.
pub async fn within<T>(
    limit: Duration,
    whom: &str,
    call: impl Future<Output = Result<T, ProviderError>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::retry(format!("the {whom} did not answer within {limit:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_never_comes_is_a_passing_failure() {
        let never = std::future::pending::<Result<(), ProviderError>>();
        assert_eq!(
            within(Duration::from_secs(10), "carrier", never).await,
            Err(Failure::retry("the carrier did not answer within 10s"))
        );
    }

    #[tokio::test]
    async fn what_the_provider_says_about_waiting_is_kept() {
        let after = Some(Duration::from_secs(7));
        let error = ProviderError::Passing { why: "busy".to_owned(), retry_after: after };
        let answer: Result<(), Failure> = within(Duration::from_secs(1), "carrier", async { Err(error) }).await;
        assert_eq!(answer, Err(Failure::Retry { why: "busy".to_owned(), after }));
    }
}
