//! What a command would say, as a problem.

use orderflow_service::telemetry;

use crate::{
    ops::Failed,
    web::problem::{Code, Problem},
};
/// Seconds after which it is worth asking again when the broker is away: about what a restart takes.
const BROKER_RETRY_SECONDS: u64 = 5;

/// Logs the cause where somebody has to look into it.
impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Store(error) => error.into(),
            Failed::NotFound(what) => Self::new(Code::DeadLettersNotFound, format!("{what}.")),
            Failed::Usage(what) => Self::new(Code::InvalidRequest, format!("{what}.")),
            Failed::Broker(_) | Failed::NotReady(_) | Failed::Publish(_) | Failed::Management(_) => {
                tracing::warn!(
                    error = telemetry::chain(&failed),
                    "an operator needs RabbitMQ, which cannot be worked with"
                );
                Self::new(Code::BrokerUnavailable, format!("{failed}.")).retry_after(BROKER_RETRY_SECONDS)
            }
            other => {
                tracing::error!(error = telemetry::chain(&other), "what an operator asked for failed");
                Self::new(Code::Internal, "The cause is logged under this request_id.")
            }
        }
    }
}
