//! Turns a command's failure into a problem.

use orderflow_service::telemetry;

use crate::{
    ops::Failed,
    web::problem::{Code, Problem},
};
/// Seconds after which a retry is worthwhile when the broker is unavailable: about what a restart takes.
const BROKER_RETRY_SECONDS: u64 = 5;

/// Logs causes that need an operator's attention.
impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Store(error) => error.into(),
            Failed::NotFound(what) => Self::new(Code::DeadLettersNotFound, format!("{what}.")),
            Failed::Usage(what) => Self::new(Code::InvalidRequest, format!("{what}.")),
            Failed::Broker(_) | Failed::NotReady(_) | Failed::Publish(_) | Failed::Management(_) => {
                tracing::warn!(
                    error = telemetry::chain(&failed),
                    "an operator's request failed because RabbitMQ cannot be used"
                );
                Self::new(Code::BrokerUnavailable, format!("{failed}.")).retry_after(BROKER_RETRY_SECONDS)
            }
            other => {
                tracing::error!(error = telemetry::chain(&other), "an operator's request failed");
                Self::new(Code::Internal, "The cause is logged under this request_id.")
            }
        }
    }
}
