//! What `orderflow why` reads: one order's rows in the log, in what is under way, and in every service's views.
//!
//! All of it is read in one transaction that sees one moment ([`snapshot`]), so that the parts fit each other: without
//! it, an event that is handled meanwhile would be in the log of one part and missing in the other.

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

/// How much of one list is read. An order has some ten events; a log that says more is itself the finding.
const MOST: i64 = 1_000;

/// What is being read over a connection.
pub type Reading<'c, T> = BoxFuture<'c, Result<T, StoreError>>;

/// Runs `read` on one moment of the database, read only, with at most ten seconds for a statement, and returns what it
/// returned together with that moment by the database's clock, with which all of its times compare.
///
/// # Errors
/// Those of `read`, and of the database before it. What the end of the transaction says is of no interest: nothing was
/// written.
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
    // The first query is what fixes the snapshot.
    let row: Moment = diesel::sql_query("SELECT now() AS moment").get_result(connection).await?;
    Ok(row.moment)
}

/// Reads one part below a savepoint: where a view is missing or may not be read, only this part is lost, and the
/// transaction goes on.
///
/// # Errors
/// Those of `read`.
pub async fn part<T: Send>(
    connection: &mut Connection,
    read: impl for<'c> FnOnce(&'c mut Connection) -> Reading<'c, T> + Send,
) -> Result<T, StoreError> {
    connection.transaction::<_, StoreError, _>(async |connection| read(connection).await).await
}
