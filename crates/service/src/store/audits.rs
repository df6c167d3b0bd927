//! The results of audits, for the metric and its alert.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, Queryable, Selectable, SelectableHelper as _,
};
use diesel_async::RunQueryDsl as _;

use super::{Connection, StoreError, schema::messaging::audits};

/// The result of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = audits)]
pub struct Audited {
    /// When it finished, by the database's clock.
    pub finished_at: DateTime<Utc>,
    /// The violations that it found.
    pub violations: i64,
}

/// Records an audit that has just finished, with the number of orders that it checked.
///
/// # Errors
/// Returns database errors.
pub async fn record(connection: &mut Connection, orders: i64, violations: i64) -> Result<(), StoreError> {
    let row = (audits::orders.eq(orders), audits::violations.eq(violations));
    diesel::insert_into(audits::table).values(row).execute(connection).await?;
    Ok(())
}

/// Returns the result of the last audit; `None` if none is recorded.
///
/// # Errors
/// Returns database errors.
pub async fn last(connection: &mut Connection) -> Result<Option<Audited>, StoreError> {
    let newest = audits::table.order(audits::audit_id.desc()).select(Audited::as_select());
    Ok(newest.first(connection).await.optional()?)
}
