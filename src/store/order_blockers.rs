//! What holds up one order, for its customer: an attempt that failed and comes again, or a message that waits for a person.

use diesel::{
    QueryableByName,
    sql_types::{Array, Bool, Double, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::store::{Connection, StoreError};
use uuid::Uuid;

use crate::services::roster;

/// What holds an order up.
#[derive(Debug, Clone, Copy, Default, PartialEq, QueryableByName)]
pub struct Blockers {
    /// The next attempt at a step that failed, in seconds from now.
    #[diesel(sql_type = Nullable<Double>)]
    pub again_in: Option<f64>,
    /// A message about it lies in a dead-letter queue, until a person sends it on.
    #[diesel(sql_type = Bool)]
    pub waits_for_a_person: bool,
}

/// Only of the queues that orders wait for, at `$2`. What was applied after it died is left out: a person moved it by hand,
/// which nobody wrote down.
const QUERY: &str = "
SELECT (SELECT extract(epoch FROM max(retry_at) - now())::float8 FROM messaging.attempts
        WHERE event_id = ANY($1) AND retry_at > now() AND subscription = ANY($2)) AS again_in,
       EXISTS (SELECT FROM messaging.dead_letters AS dead
               WHERE event_id = ANY($1) AND left_at IS NULL AND subscription = ANY($2) AND NOT EXISTS (
                   SELECT FROM messaging.inbox AS inbox
                   WHERE inbox.event_id = dead.event_id AND inbox.subscription = dead.subscription
               )) AS waits_for_a_person";

/// What holds up an order that has these events.
///
/// # Errors
/// Those of the database.
pub async fn of(connection: &mut Connection, events: &[Uuid]) -> Result<Blockers, StoreError> {
    let query = diesel::sql_query(QUERY).bind::<Array<SqlUuid>, _>(events).bind::<Array<Text>, _>(roster().steps());
    Ok(query.get_result(connection).await?)
}
