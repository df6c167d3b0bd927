//! Console sessions that were ended before they expired.

use chrono::{DateTime, Utc};
use diesel::{
    ExpressionMethods as _, QueryDsl as _,
    dsl::{exists, now, select},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError};
use uuid::Uuid;

use super::schema::operations::ended_sessions;

/// Ends a session that would expire at `expires`. Deletes the records of sessions that have expired by now.
///
/// # Errors
/// Returns database errors.
pub async fn end(connection: &mut Connection, session: Uuid, expires: DateTime<Utc>) -> Result<(), StoreError> {
    diesel::delete(ended_sessions::table).filter(ended_sessions::expires_at.lt(now)).execute(connection).await?;
    let ended = (ended_sessions::session_id.eq(session), ended_sessions::expires_at.eq(expires));
    diesel::insert_into(ended_sessions::table).values(ended).on_conflict_do_nothing().execute(connection).await?;
    Ok(())
}

/// Returns whether this session was ended.
///
/// # Errors
/// Returns database errors.
pub async fn is_ended(connection: &mut Connection, session: Uuid) -> Result<bool, StoreError> {
    Ok(select(exists(ended_sessions::table.find(session))).get_result(connection).await?)
}
