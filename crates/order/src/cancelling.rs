//! A customer's wish to cancel is written down. Whether the order still can be cancelled is decided by the shipping service.

use std::time::Duration;

use diesel_async::AsyncConnection as _;
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

/// A service may write to the order's log at the same moment, at most one after the other: four steps and their undoing.
const TRIES: u32 = 10;

/// How long the transaction may take. After that the customer is asked to try again.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a wish to cancel is not written down.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such order.
    #[error("there is no such order")]
    Unknown,
    /// The order has shipped or failed: there is nothing to cancel.
    #[error("the order is {} already", .0.as_str())]
    TooLate(OrderStatus),
    /// It panicked; the cause is logged. It may be written down all the same; asking again is safe.
    #[error("the request to cancel was given up")]
    GivenUp,
    /// The database failed. It may be written down all the same; asking again is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes down that the customer of this order wants it cancelled. Safe to repeat.
///
/// # Errors
/// See [`Refused`].
pub async fn request(database: &Database, relay: &Relay, id: Uuid) -> Result<(), Refused> {
    let (database, relay) = (database.clone(), relay.clone());
    // A task of its own: a customer who goes away leaves no transaction open.
    let cancelling = tokio::spawn(async move { cancel(&database, &relay, id).await });
    match tokio::time::timeout(DEADLINE, cancelling).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panicked)) => {
            tracing::error!(%panicked, order.id = %id, "a request to cancel was given up");
            Err(Refused::GivenUp)
        }
        Err(_) => Err(StoreError::TimedOut(DEADLINE).into()),
    }
}

async fn cancel(database: &Database, relay: &Relay, id: Uuid) -> Result<(), Refused> {
    let mut tries = 0;
    loop {
        let asking = async |connection: &mut Connection| {
            connection.transaction::<_, StoreError, _>(async |connection| cancel::request(connection, id).await).await
        };
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
