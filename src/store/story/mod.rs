//! The queries of `orderflow why`: one order's rows in the log, the outbox, the inbox and every service's views.
//!
//! Everything is read in one transaction on one [`snapshot`], so that the parts are consistent. Otherwise an event
//! handled in between would appear in one part and be missing from another.

mod find;
mod messaging;
mod services;

use chrono::{DateTime, Utc};
use diesel::{QueryableByName, sql_types::Timestamptz};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use futures::future::BoxFuture;
use orderflow_service::store::{Connection, StoreError};

pub use find::{Found, Wanted, find};
pub use messaging::{Applied, Attempt, DeadLetter, Event, Waiting, applied, attempts, dead_letters, events, outbox};
pub use services::{
    Mail, Movement, Payment, Reservation, Shipment, mails, movements, payments, reservation, shipments,
};

/// The most rows read of one list. An order has about ten events, so a longer list is itself the finding.
const MOST: i64 = 1_000;

/// A read in progress on a connection.
pub type Reading<'c, T> = BoxFuture<'c, Result<T, StoreError>>;

/// Runs `read` in a read-only transaction on one snapshot, with at most ten seconds per statement.
///
/// `read` gets the time of the snapshot by the database's clock, for comparison with the times that it reads.
///
/// # Errors
/// Returns the errors of `read`, and those of the database before it. An error at the end of the transaction does not
/// matter, since nothing was written.
pub async fn snapshot<T: Send>(
    connection: &mut Connection,
    read: impl for<'c> FnOnce(&'c mut Connection, DateTime<Utc>) -> Reading<'c, T> + Send,
) -> Result<T, StoreError> {
    let mut result = None;
    let ended = connection
        .transaction::<_, StoreError, _>(async |connection| {
            diesel::sql_query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(connection).await?;
            let moment = begin(connection).await?;
            result = Some(read(connection, moment).await);
            Ok(())
        })
        .await;
    match (result, ended) {
        (Some(result), _) => result,
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(StoreError::Corrupt("a transaction ended without having begun".to_owned())),
    }
}

async fn begin(connection: &mut Connection) -> Result<DateTime<Utc>, StoreError> {
    #[derive(QueryableByName)]
    struct Moment {
        #[diesel(sql_type = Timestamptz)]
        moment: DateTime<Utc>,
    }
    diesel::sql_query("SET LOCAL statement_timeout = '10s'").execute(connection).await?;
    // The first query fixes the snapshot.
    let row: Moment = diesel::sql_query("SELECT now() AS moment").get_result(connection).await?;
    Ok(row.moment)
}

/// Reads one part behind a savepoint. If a view is missing or may not be read, only this part is lost and the
/// transaction continues.
///
/// # Errors
/// Returns the errors of `read`.
pub async fn part<T: Send>(
    connection: &mut Connection,
    read: impl for<'c> FnOnce(&'c mut Connection) -> Reading<'c, T> + Send,
) -> Result<T, StoreError> {
    connection.transaction::<_, StoreError, _>(async |connection| read(connection).await).await
}
