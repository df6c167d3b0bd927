//! Dead letters that remain only in the index: their queue was purged by hand, or the broker lost it.

use std::time::Duration;

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Double, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{Connection, StoreError, missing::Pair};

/// A dead letter that the index lists as waiting.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Listed {
    /// The id of its row.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// Its event, if the log has it: only such an event can be republished.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub event_id: Option<Uuid>,
    /// The subscription in whose dead-letter queue it lay.
    #[diesel(sql_type = Text)]
    pub subscription: String,
}

impl Listed {
    /// Returns the delivery to republish, if any.
    #[must_use]
    pub fn pair(&self) -> Option<Pair> {
        self.event_id.map(|event_id| Pair { event_id, subscription: self.subscription.clone() })
    }
}

/// Leaves out what was applied since, what was ever discarded, and what was retried after it was dead-lettered and will
/// return on its own, for example after it was moved by hand.
const LISTED: &str = "
SELECT dead.id, log.event_id, dead.subscription FROM messaging.dead_letters AS dead
LEFT JOIN messaging.event_log AS log ON log.event_id = dead.event_id
WHERE dead.left_at IS NULL AND dead.subscription = ANY($1)
  AND NOT EXISTS (SELECT FROM messaging.inbox
                  WHERE inbox.event_id = dead.event_id AND inbox.subscription = dead.subscription)
  AND NOT EXISTS (SELECT FROM messaging.dead_letters AS other
                  WHERE other.event_id = dead.event_id AND other.subscription = dead.subscription
                    AND other.left_by = 'discarded')
  AND NOT EXISTS (SELECT FROM messaging.attempts AS failed
                  WHERE failed.event_id = dead.event_id AND failed.subscription = dead.subscription
                    AND failed.failed_at > dead.died_at AND failed.retry_at > now() - make_interval(secs => $2))
ORDER BY dead.id LIMIT $3";

/// Returns the dead letters of these subscriptions that the index lists as waiting: oldest first, at most `limit`. Only
/// the broker knows whether they are in their queues. `arrival` is how long a retry may take to arrive after it is due.
///
/// # Errors
/// Returns database errors.
pub async fn listed(
    connection: &mut Connection,
    subscriptions: &[String],
    arrival: Duration,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    Ok(diesel::sql_query(LISTED)
        .bind::<Array<Text>, _>(subscriptions)
        .bind::<Double, _>(arrival.as_secs_f64())
        .bind::<BigInt, _>(limit)
        .load(connection)
        .await?)
}

/// The outcome for a dead letter that was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// Its event was republished.
    Republished,
    /// There was nothing to republish: it was not an event of ours, or its order was lost.
    Nothing,
}

/// Removes these rows from the list of waiting dead letters. A message that has been dead-lettered again since has its
/// own row, which stays.
///
/// # Errors
/// Returns database errors.
pub async fn take_off(connection: &mut Connection, ids: &[i64], became: Became) -> Result<(), StoreError> {
    let left_by = match became {
        Became::Republished => "republished",
        Became::Nothing => "purged",
    };
    diesel::sql_query(
        "UPDATE messaging.dead_letters SET left_at = now(), left_by = $2 WHERE id = ANY($1) AND left_at IS NULL",
    )
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Text, _>(left_by)
    .execute(connection)
    .await?;
    Ok(())
}
