//! From one range of orders to the next.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, QueryableByName, sql_types::BigInt};
use diesel_async::RunQueryDsl as _;
use futures::FutureExt as _;
use orderflow_order::store::schema::orders::orders;
use orderflow_service::store::{Connection, StoreError};
use uuid::Uuid;

use crate::store::story::{Reading, snapshot};

/// Orders whose ids are above `after` and not above `upto`. Ids grow with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Everything up to here has been looked at.
    pub after: Uuid,
    /// The last one.
    pub upto: Uuid,
}

impl Range {
    /// All orders that were placed since then.
    #[must_use]
    pub fn since(time: DateTime<Utc>) -> Self {
        Self { after: first_of(time), upto: Uuid::max() }
    }

    /// All orders there are.
    #[must_use]
    pub fn all() -> Self {
        Self { after: Uuid::nil(), upto: Uuid::max() }
    }

    /// This one alone.
    #[must_use]
    pub fn only(order: Uuid) -> Self {
        Self { after: Uuid::from_u128(order.as_u128().saturating_sub(1)), upto: order }
    }

    /// The milliseconds since 1970 in which an order of the range may have been placed, as its ids have it.
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

/// Runs `read` on one moment of the database, read only, as [`snapshot`] does; and so that it harms nobody: it waits for no
/// lock, and every statement is planned for what it reads, by an index where there is one, without compiling the plan.
///
/// # Errors
/// Those of `read` and of the database.
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

/// The next part of `range`, of `limit` orders.
///
/// # Errors
/// Those of the database.
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

/// How many orders there are, as the planner has it: for a progress bar.
///
/// # Errors
/// Those of the database.
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
    // Below zero: never counted yet.
    Ok(u64::try_from(row.estimate).ok().filter(|estimate| *estimate > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_knows_its_time() {
        let time = DateTime::from_timestamp_millis(1_700_000_000_123).expect("a time");
        assert_eq!(Range::since(time).milliseconds().0, 1_700_000_000_123);
        assert_eq!(Range::all().milliseconds(), (0, (1 << 48) - 1));
        let id = Uuid::from_u128(5);
        assert_eq!(Range::only(id), Range { after: Uuid::from_u128(4), upto: id });
    }
}
