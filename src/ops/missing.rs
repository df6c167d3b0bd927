//! Finds missing deliveries by queue: `orderflow republish` sends them again, and `orderflow doctor` reports them.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_service::store::{
    Connection, StoreError,
    missing::{ConsumedEvents, Pair, Scan, Whereabouts},
};
use tokio::time::Instant;

/// Rows that one statement returns.
const AT_ONCE: u16 = 5_000;

/// What to search, and how far.
#[derive(Debug, Clone)]
pub struct Search {
    /// The subscriptions to search.
    pub consumed: ConsumedEvents,
    /// Only events after this time.
    pub since: DateTime<Utc>,
    /// How long an event may take to arrive: younger events are skipped.
    pub arrival: Duration,
    /// The search ends at about this many deliveries; a statement's rows may exceed it.
    pub at_most: usize,
    /// The search ends after this time; a statement that is running then has a time-out of its own.
    pub within: Duration,
}

/// The result of a search.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Missing deliveries by queue; no list is empty.
    pub by_queue: BTreeMap<String, Vec<Pair>>,
    /// Where the search ended early: only events before this time were searched.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Searches the log for events that are neither applied nor known to be anywhere.
///
/// Messages waiting in their queue are among the results, because the database does not know the queues: the caller has
/// to check the broker.
///
/// # Errors
/// Returns database errors.
pub async fn find(connection: &mut Connection, search: Search) -> Result<Missing, StoreError> {
    let began = Instant::now();
    // The setting allows a day at most.
    let until = Utc::now() - TimeDelta::from_std(search.arrival).unwrap_or(TimeDelta::days(1));
    let mut scan = Scan::new(search.consumed, search.since);
    let (mut missing, mut found) = (Missing::default(), 0);
    while !scan.has_reached(until) {
        if found >= search.at_most || began.elapsed() >= search.within {
            missing.ended_at = Some(scan.reached());
            break;
        }
        for one in scan.step(connection, until, search.arrival, AT_ONCE).await? {
            // Deliveries that are elsewhere arrive on their own, or an operator decides about them.
            if one.whereabouts == Whereabouts::Unknown {
                found += 1;
                missing.by_queue.entry(one.pair.subscription.clone()).or_default().push(one.pair);
            }
        }
    }
    Ok(missing)
}

/// Counts deliveries younger than `arrival` that are neither applied nor anywhere that the database knows: they are on
/// their way, or lost. Stops at about `at_most`; a statement's rows may exceed it.
///
/// # Errors
/// Returns database errors.
pub async fn younger(
    connection: &mut Connection,
    consumed: ConsumedEvents,
    arrival: Duration,
    at_most: usize,
) -> Result<usize, StoreError> {
    let now = Utc::now();
    let mut scan = Scan::new(consumed, now - TimeDelta::from_std(arrival).unwrap_or(TimeDelta::days(1)));
    let mut count = 0;
    while count < at_most && !scan.has_reached(now) {
        let unapplied = scan.step(connection, now, arrival, AT_ONCE).await?;
        count += unapplied.iter().filter(|one| one.whereabouts == Whereabouts::Unknown).count();
    }
    Ok(count)
}
