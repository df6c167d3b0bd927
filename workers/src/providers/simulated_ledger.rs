//! Runs statements on the simulated payment provider's ledger, and maps their errors.

use std::future::Future;

use orderflow_service::{provider_error::ProviderError, store::StoreError, telemetry};

/// Runs a statement and returns its result. The statement runs in its own task, so that a cancelled caller leaves no
/// connection in the middle of a statement.
pub(super) async fn ledger<T: Send + 'static>(
    statement: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, ProviderError> {
    match tokio::spawn(statement).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ledger_failed(&error)),
        Err(_) => Err(ProviderError::transient("the simulated payment provider was interrupted")),
    }
}

/// Logs an error of the ledger, and returns the provider's answer for it.
pub(super) fn ledger_failed(error: &StoreError) -> ProviderError {
    tracing::warn!(error = telemetry::chain(error), "the simulated payment provider's ledger failed");
    if error.is_unavailable() {
        ProviderError::unavailable("the simulated payment provider is unavailable")
    } else {
        // The error concerns these requests; others may succeed.
        ProviderError::transient("the simulated payment provider could not record this request")
    }
}
