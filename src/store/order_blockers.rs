//! What delays one order, for its customer: a failed attempt that will be retried, or a message that needs an operator.

use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Double, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError};
use uuid::Uuid;

use crate::services::roster;

/// What delays an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, QueryableByName)]
pub struct Blockers {
    /// Seconds from now until the next attempt at a step that failed.
    #[diesel(sql_type = Nullable<Double>)]
    pub again_in: Option<f64>,
    /// Whether one of its messages is in a dead-letter queue, until an operator replays it.
    #[diesel(sql_type = Bool)]
    pub waits_for_a_person: bool,
}

/// `$2` are the queues that orders wait for; other queues delay no order. A dead letter whose event was applied is left
/// out: an operator moved it by hand, which leaves no record.
const QUERY: &str = "
SELECT (SELECT extract(epoch FROM max(retry_at) - now())::float8 FROM messaging.attempts
        WHERE event_id = ANY($1) AND retry_at > now() AND subscription = ANY($2)) AS again_in,
       EXISTS (SELECT FROM messaging.dead_letters AS dead
               WHERE event_id = ANY($1) AND left_at IS NULL AND subscription = ANY($2) AND NOT EXISTS (
                   SELECT FROM messaging.inbox AS inbox
                   WHERE inbox.event_id = dead.event_id AND inbox.subscription = dead.subscription
               )) AS waits_for_a_person";

/// Returns what delays the order that has these events.
///
/// # Errors
/// Returns database errors.
pub async fn of(connection: &mut Connection, events: &[Uuid]) -> Result<Blockers, StoreError> {
    let query = diesel::sql_query(QUERY).bind::<Array<SqlUuid>, _>(events).bind::<Array<Text>, _>(roster().steps());
    Ok(query.get_result(connection).await?)
}
