//! Finds missing deliveries: events that a subscription consumes, has not applied, and does not have anywhere else.
//!
//! Compares the log with the inbox, so the cause of the loss does not matter: a deleted queue, a broker that lost its
//! disks, a purge of too much.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Double, Integer, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::{Roster, Subscription};

/// One event for one subscription.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The event.
    pub event_id: Uuid,
    /// The subscription, which is also the queue's name.
    pub subscription: String,
}

/// The place of an event that its subscription has not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the outbox: not published yet.
    Outbox,
    /// In a dead-letter queue, as far as the database knows: it may have been purged by hand.
    Dead,
    /// Discarded by an operator.
    Discarded,
    /// In a retry tier, or due from there so recently that it may be on its way.
    Retry,
    /// In its queue, or nowhere: the database cannot tell.
    Unknown,
}

/// An event that its subscription has not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unapplied {
    /// The event and its subscription.
    pub pair: Pair,
    /// Where it is.
    pub whereabouts: Whereabouts,
}

/// The routing keys that each subscription consumes, as two parallel columns.
#[derive(Debug, Clone, Default)]
pub struct ConsumedEvents {
    /// The routing keys.
    pub events: Vec<&'static str>,
    /// The subscriptions, in the same order.
    pub subscriptions: Vec<String>,
}

impl ConsumedEvents {
    /// Returns what these subscriptions consume, leaving out those that are not tracked.
    #[must_use]
    pub fn of(roster: &Roster, subscriptions: &[Subscription]) -> Self {
        let of_one =
            |one: Subscription| roster.events_of(one).into_iter().map(move |event| (event.as_str(), one.queue()));
        let (events, subscriptions) =
            subscriptions.iter().copied().filter(|one| roster.is_tracked(*one)).flat_map(of_one).unzip();
        Self { events, subscriptions }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    subscription: String,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    whereabouts: String,
}

impl Whereabouts {
    /// Returns the place with this name in [`WHEREABOUTS`].
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "outbox" => Self::Outbox,
            "dead" => Self::Dead,
            "discarded" => Self::Discarded,
            "retry" => Self::Retry,
            _ => Self::Unknown,
        }
    }
}

impl From<Row> for Unapplied {
    fn from(row: Row) -> Self {
        let whereabouts = Whereabouts::named(&row.whereabouts);
        Self { pair: Pair { event_id: row.event_id, subscription: row.subscription }, whereabouts }
    }
}

/// Selects the place of each row of `pair`. `$1` is how long an event may take to arrive, in seconds.
pub const WHEREABOUTS: &str = "
SELECT pair.*, CASE
    WHEN EXISTS (SELECT FROM messaging.outbox WHERE outbox.event_id = pair.event_id) THEN 'outbox'
    WHEN EXISTS (SELECT FROM messaging.dead_letters AS dead
                 WHERE dead.event_id = pair.event_id AND dead.subscription = pair.subscription
                   AND dead.left_by = 'discarded') THEN 'discarded'
    WHEN EXISTS (SELECT FROM messaging.dead_letters AS dead
                 WHERE dead.event_id = pair.event_id AND dead.subscription = pair.subscription
                   AND dead.left_at IS NULL) THEN 'dead'
    WHEN EXISTS (SELECT FROM messaging.attempts AS failed
                 WHERE failed.event_id = pair.event_id AND failed.subscription = pair.subscription
                   AND failed.retry_at > now() - make_interval(secs => $1)) THEN 'retry'
    ELSE 'unknown' END AS whereabouts
FROM pair";

const NOT_APPLIED: &str = "NOT EXISTS (SELECT FROM messaging.inbox
                      WHERE inbox.event_id = candidate.event_id AND inbox.subscription = candidate.subscription)";

/// With ties, so that the result has every row up to the last row's time.
fn in_range() -> String {
    format!(
        "WITH pair AS (
             SELECT * FROM (
                 SELECT log.event_id, takes.subscription, log.occurred_at FROM messaging.event_log AS log
                 JOIN unnest($2::text[], $3::text[]) AS takes (event, subscription) ON takes.event = log.event
                 WHERE log.occurred_at > $4 AND log.occurred_at <= $5
             ) AS candidate
             WHERE {NOT_APPLIED}
             ORDER BY occurred_at FETCH FIRST $6 ROWS WITH TIES
         ) {WHEREABOUTS} ORDER BY occurred_at"
    )
}

fn by_key() -> String {
    format!(
        "WITH pair AS (
             SELECT *, now() AS occurred_at FROM unnest($2::uuid[], $3::text[]) AS candidate (event_id, subscription)
             WHERE {NOT_APPLIED}
         ) {WHEREABOUTS}"
    )
}

/// A slice that takes longer than this is followed by a shorter one, a faster slice by a longer one.
const SLICE_SHOULD_TAKE: Duration = Duration::from_millis(200);
const SHORTEST_SLICE: TimeDelta = TimeDelta::seconds(1);
const LONGEST_SLICE: TimeDelta = TimeDelta::hours(1);

/// A scan of the log in slices of time, each worth about a fifth of a second's work.
#[derive(Debug, Clone)]
pub struct Scan {
    consumed: ConsumedEvents,
    /// Everything up to here has been searched.
    reached: DateTime<Utc>,
    slice: TimeDelta,
}

impl Scan {
    /// Starts a scan of the events after `from`.
    #[must_use]
    pub fn new(consumed: ConsumedEvents, from: DateTime<Utc>) -> Self {
        Self { consumed, reached: from, slice: TimeDelta::minutes(1) }
    }

    /// Searches for what these subscriptions consume from now on.
    pub fn set_consumed(&mut self, consumed: ConsumedEvents) {
        self.consumed = consumed;
    }

    /// Returns whether everything up to `until` has been searched.
    #[must_use]
    pub fn has_reached(&self, until: DateTime<Utc>) -> bool {
        self.reached >= until
    }

    /// Returns the time up to which everything has been searched.
    #[must_use]
    pub fn reached(&self) -> DateTime<Utc> {
        self.reached
    }

    /// Searches the next slice up to `until` and returns its unapplied deliveries. Returns about `limit` at most,
    /// because the slice then ends there. `arrival` is how long an event may take to arrive.
    ///
    /// # Errors
    /// Returns database errors; the next step then searches the same range again.
    pub async fn step(
        &mut self,
        connection: &mut Connection,
        until: DateTime<Utc>,
        arrival: Duration,
        limit: u16,
    ) -> Result<Vec<Unapplied>, StoreError> {
        let end = until.min(self.reached + self.slice);
        let began = Instant::now();
        let rows: Result<Vec<Row>, _> = diesel::sql_query(in_range())
            .bind::<Double, _>(arrival.as_secs_f64())
            .bind::<Array<Text>, _>(&self.consumed.events)
            .bind::<Array<Text>, _>(&self.consumed.subscriptions)
            .bind::<Timestamptz, _>(self.reached)
            .bind::<Timestamptz, _>(end)
            .bind::<BigInt, _>(i64::from(limit))
            .load(connection)
            .await;
        self.slice = match rows {
            Ok(_) if began.elapsed() < SLICE_SHOULD_TAKE => LONGEST_SLICE.min(self.slice * 2),
            _ => SHORTEST_SLICE.max(self.slice / 2),
        };
        let rows = rows?;
        self.reached = match rows.last() {
            Some(last) if rows.len() >= usize::from(limit) => last.occurred_at,
            _ => end,
        };
        Ok(rows.into_iter().map(Unapplied::from).collect())
    }
}

/// Returns which of these deliveries are still not applied, and where they are.
///
/// # Errors
/// Returns database errors.
pub async fn recheck(
    connection: &mut Connection,
    pairs: &[Pair],
    arrival: Duration,
) -> Result<Vec<Unapplied>, StoreError> {
    let (events, subscriptions) = columns(pairs);
    let rows: Vec<Row> = diesel::sql_query(by_key())
        .bind::<Double, _>(arrival.as_secs_f64())
        .bind::<Array<SqlUuid>, _>(events)
        .bind::<Array<Text>, _>(subscriptions)
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(Unapplied::from).collect())
}

/// Locks the search for missing deliveries of these services until the caller's transaction ends. Returns `false` if
/// another process holds the lock.
///
/// # Errors
/// Returns database errors.
pub async fn be_the_only_one(connection: &mut Connection, services: &str) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        alone: bool,
    }
    // Any key that nothing else uses will do.
    let row: Row = diesel::sql_query(
        "SELECT pg_try_advisory_xact_lock(hashtextextended('orderflow missing deliveries ' || $1, 0)) AS alone",
    )
    .bind::<Text, _>(services)
    .get_result(connection)
    .await?;
    Ok(row.alone)
}

/// The outcome of claiming deliveries for republishing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The deliveries that the caller must republish now.
    pub mine: HashSet<Pair>,
    /// The deliveries that have been republished as often as permitted.
    pub given_up: HashSet<Pair>,
}

/// The limits on republishing.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The maximum number of times that one delivery is republished.
    pub times: i32,
    /// The maximum number of deliveries in one claim.
    pub at_once: i64,
}

/// Claims deliveries for republishing. The wait after each time is twice as long as before, starting with two
/// `distance`s.
///
/// # Errors
/// Returns database errors.
pub async fn claim(
    connection: &mut Connection,
    pairs: &[Pair],
    limits: Limits,
    distance: Duration,
) -> Result<Claimed, StoreError> {
    let (events, subscriptions) = columns(pairs);
    // Deliveries that are not due are left out before the limit, and again if another process was faster.
    let mine: Vec<PairRow> = diesel::sql_query(
        "INSERT INTO messaging.resent AS sent (event_id, subscription)
         SELECT event_id, subscription FROM unnest($1::uuid[], $2::text[]) AS pair (event_id, subscription)
         LEFT JOIN messaging.resent AS before USING (event_id, subscription)
         WHERE before.event_id IS NULL
            OR before.times < $3 AND before.last_at + make_interval(secs => $4 * power(2, before.times)) < now()
         ORDER BY event_id, subscription LIMIT $5
         ON CONFLICT (event_id, subscription) DO UPDATE SET times = sent.times + 1, last_at = now()
         WHERE sent.times < $3 AND sent.last_at + make_interval(secs => $4 * power(2, sent.times)) < now()
         RETURNING event_id, subscription",
    )
    .bind::<Array<SqlUuid>, _>(&events)
    .bind::<Array<Text>, _>(&subscriptions)
    .bind::<Integer, _>(limits.times)
    .bind::<Double, _>(distance.as_secs_f64())
    .bind::<BigInt, _>(limits.at_once)
    .load(connection)
    .await?;
    let given_up: Vec<PairRow> = diesel::sql_query(
        "SELECT event_id, subscription FROM messaging.resent
         JOIN unnest($1::uuid[], $2::text[]) AS pair (event_id, subscription) USING (event_id, subscription)
         WHERE times >= $3 AND last_at + make_interval(secs => $4 * power(2, times)) < now()",
    )
    .bind::<Array<SqlUuid>, _>(events)
    .bind::<Array<Text>, _>(subscriptions)
    .bind::<Integer, _>(limits.times)
    .bind::<Double, _>(distance.as_secs_f64())
    .load(connection)
    .await?;
    let pairs = |rows: Vec<PairRow>| rows.into_iter().map(Pair::from).collect();
    Ok(Claimed { mine: pairs(mine), given_up: pairs(given_up) })
}

/// Records that an operator republished these deliveries.
///
/// # Errors
/// Returns database errors.
pub async fn note_resent(connection: &mut Connection, pairs: &[Pair]) -> Result<(), StoreError> {
    let (events, subscriptions) = columns(pairs);
    diesel::sql_query(
        "INSERT INTO messaging.resent AS sent (event_id, subscription)
         SELECT * FROM unnest($1::uuid[], $2::text[]) AS pair (event_id, subscription) ORDER BY 1, 2
         ON CONFLICT (event_id, subscription) DO UPDATE SET times = sent.times + 1, last_at = now()",
    )
    .bind::<Array<SqlUuid>, _>(events)
    .bind::<Array<Text>, _>(subscriptions)
    .execute(connection)
    .await?;
    Ok(())
}

/// Releases claims whose messages the broker did not accept: that time does not count.
///
/// # Errors
/// Returns database errors.
pub async fn unclaim(connection: &mut Connection, pairs: &[Pair]) -> Result<(), StoreError> {
    let (events, subscriptions) = columns(pairs);
    diesel::sql_query(
        "UPDATE messaging.resent SET times = times - 1
         FROM unnest($1::uuid[], $2::text[]) AS pair (event_id, subscription)
         WHERE resent.event_id = pair.event_id AND resent.subscription = pair.subscription",
    )
    .bind::<Array<SqlUuid>, _>(events)
    .bind::<Array<Text>, _>(subscriptions)
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct PairRow {
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    subscription: String,
}

impl From<PairRow> for Pair {
    fn from(row: PairRow) -> Self {
        Self { event_id: row.event_id, subscription: row.subscription }
    }
}

fn columns(pairs: &[Pair]) -> (Vec<Uuid>, Vec<&str>) {
    pairs.iter().map(|pair| (pair.event_id, pair.subscription.as_str())).unzip()
}
