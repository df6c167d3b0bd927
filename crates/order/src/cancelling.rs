//! Records a customer's request to cancel an order. The shipping service decides whether it can still be cancelled.

use std::time::Duration;

use orderflow_service::{
    broker::Relay,
    store::{Connection, Database, StoreError},
};
use rand::RngExt as _;
use uuid::Uuid;

use crate::{
    domain::OrderStatus,
    store::cancel::{self, CancelRequest},
};

/// The maximum number of tries. Each try can collide with a service that writes to the order's log: at most the four
/// forward steps and their compensations, one after the other.
const TRIES: u32 = 10;

/// The time limit of the transaction. After that the customer has to try again.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a cancellation request was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such order.
    #[error("there is no such order")]
    Unknown,
    /// The order has shipped or failed: there is nothing to cancel.
    #[error("the order is {} already", .0.as_str())]
    TooLate(OrderStatus),
    /// The task panicked; the cause is logged. The request may have been recorded nevertheless; repeating it is safe.
    #[error("the cancellation request was aborted")]
    GivenUp,
    /// The database failed. The request may have been recorded nevertheless; repeating it is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Records that the customer wants this order cancelled. Safe to repeat.
///
/// # Errors
/// See [`Refused`].
pub async fn request(database: &Database, relay: &Relay, id: Uuid) -> Result<(), Refused> {
    let (database, relay) = (database.clone(), relay.clone());
    // A separate task, so that a disconnecting client leaves no transaction open.
    let cancelling = tokio::spawn(async move { cancel(&database, &relay, id).await });
    match tokio::time::timeout(DEADLINE, cancelling).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panicked)) => {
            tracing::error!(%panicked, order.id = %id, "a cancellation request was aborted");
            Err(Refused::GivenUp)
        }
        Err(_) => Err(StoreError::TimedOut(DEADLINE).into()),
    }
}

async fn cancel(database: &Database, relay: &Relay, id: Uuid) -> Result<(), Refused> {
    let mut tries = 0;
    loop {
        let asking = async |connection: &mut Connection| cancel::request(connection, id).await;
        let outcome = database.run(DEADLINE, asking).await;
        tries += 1;
        match outcome {
            Ok(CancelRequest::Unknown) => return Err(Refused::Unknown),
            Ok(CancelRequest::TooLate(status)) => return Err(Refused::TooLate(status)),
            Ok(CancelRequest::Requested(events)) => {
                relay.submit(events);
                return Ok(());
            }
            Err(error) if (error.is_unique_violation() || error.is_passing()) && tries < TRIES => {
                let pause = Duration::from_millis(rand::rng().random_range(2..20));
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
