//! Walks the orders range by range.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, QueryableByName, sql_types::BigInt};
use diesel_async::RunQueryDsl as _;
use futures::FutureExt as _;
use orderflow_order::store::schema::orders::orders;
use orderflow_service::store::{Connection, StoreError};
use uuid::Uuid;

use crate::store::story::{Reading, snapshot};

/// Orders whose ids are greater than `after` and at most `upto`. Ids grow with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The last id before the range.
    pub after: Uuid,
    /// The last id of the range.
    pub upto: Uuid,
}

impl Range {
    /// Returns the range of all orders placed since this time.
    #[must_use]
    pub fn since(time: DateTime<Utc>) -> Self {
        Self { after: first_of(time), upto: Uuid::max() }
    }

    /// Returns the range of all orders.
    #[must_use]
    pub fn all() -> Self {
        Self { after: Uuid::nil(), upto: Uuid::max() }
    }

    /// Returns the range that holds only this order.
    #[must_use]
    pub fn only(order: Uuid) -> Self {
        Self { after: Uuid::from_u128(order.as_u128().saturating_sub(1)), upto: order }
    }

    /// Returns the first and the last millisecond since 1970 at which an order of the range may have been placed,
    /// according to its id.
    #[must_use]
    pub fn milliseconds(&self) -> (i64, i64) {
        let of = |id: Uuid| i64::try_from(id.as_u128() >> TIME).unwrap_or(i64::MAX);
        (of(self.after), of(self.upto))
    }
}

/// A UUIDv7 begins with 48 bits of milliseconds.
const TIME: u32 = 80;

fn first_of(time: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(time.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds << TIME)
}

/// Runs `read` in a read-only transaction on one snapshot, as [`snapshot`] does, without getting in the way of orders.
///
/// It waits at most a second for a lock. Every statement is planned for its own parameters, uses an index where there
/// is one, and is not JIT-compiled.
///
/// # Errors
/// Returns the errors of `read` and of the database.
pub async fn glance<T: Send>(
    connection: &mut Connection,
    read: impl for<'c> FnOnce(&'c mut Connection, DateTime<Utc>) -> Reading<'c, T> + Send + 'static,
) -> Result<T, StoreError> {
    snapshot(connection, |connection, moment| {
        async move {
            diesel::sql_query(
                "SELECT set_config('lock_timeout', '1s', true), set_config('plan_cache_mode', 'force_custom_plan', true),
                        set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)",
            )
            .execute(connection)
            .await?;
            read(connection, moment).await
        }
        .boxed()
    })
    .await
}

/// Returns the first part of `range`, with up to `limit` orders.
///
/// # Errors
/// Returns database errors.
pub async fn next(connection: &mut Connection, range: Range, limit: i64) -> Result<Range, StoreError> {
    let last: Option<Uuid> = orders::table
        .filter(orders::id.gt(range.after))
        .filter(orders::id.le(range.upto))
        .order(orders::id)
        .offset(limit.saturating_sub(1))
        .select(orders::id)
        .first(connection)
        .await
        .optional()?;
    Ok(Range { upto: last.unwrap_or(range.upto), ..range })
}

/// Returns the planner's estimate of how many orders there are, for a progress bar; `None` before the first count.
///
/// # Errors
/// Returns database errors.
pub async fn estimated_orders(connection: &mut Connection) -> Result<Option<u64>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        estimate: i64,
    }
    let row: Row =
        diesel::sql_query("SELECT reltuples::bigint AS estimate FROM pg_class WHERE oid = 'orders.orders'::regclass")
            .get_result(connection)
            .await?;
    // -1: the table has never been analyzed.
    Ok(u64::try_from(row.estimate).ok().filter(|estimate| *estimate > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_covers_the_milliseconds_of_its_ids() {
        let time = DateTime::from_timestamp_millis(1_700_000_000_123).expect("a time");
        assert_eq!(Range::since(time).milliseconds().0, 1_700_000_000_123);
        assert_eq!(Range::all().milliseconds(), (0, (1 << 48) - 1));
        let id = Uuid::from_u128(5);
        assert_eq!(Range::only(id), Range { after: Uuid::from_u128(4), upto: id });
    }
}
