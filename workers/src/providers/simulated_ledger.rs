//! How the simulated payment provider asks its ledger, and what it answers when that fails.

use std::future::Future;

use orderflow_service::{provider_error::ProviderError, store::StoreError, telemetry};

/// Returns the ledger's answer. The statement runs in a task of its own: a caller that is cancelled leaves no connection
/// half-way.
pub(super) async fn ledger<T: Send + 'static>(
    statement: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, ProviderError> {
    match tokio::spawn(statement).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ledger_failed(&error)),
        Err(_) => Err(ProviderError::passing("the simulated payment provider was interrupted")),
    }
}

/// Logs that the ledger could not be read or written, and returns what the provider answers then.
pub(super) fn ledger_failed(error: &StoreError) -> ProviderError {
    tracing::warn!(error = telemetry::chain(error), "the simulated payment provider's ledger failed");
    if error.is_unavailable() {
        ProviderError::unavailable("the simulated payment provider is away")
    } else {
        // Something about these requests; others would be answered.
        ProviderError::passing("the simulated payment provider could not write this down")
    }
}
