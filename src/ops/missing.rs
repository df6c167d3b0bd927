//! What went missing, by queue: `orderflow republish` sends it again, and `orderflow doctor` names it.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_service::store::{
    Connection, StoreError,
    missing::{Pair, Scan, Taken, Whereabouts},
};
use tokio::time::Instant;

/// Rows that one statement returns.
const AT_ONCE: u16 = 5_000;

/// Where to look, and how far.
#[derive(Debug, Clone)]
pub struct Search {
    /// Of which subscriptions.
    pub taken: Taken,
    /// At what happened after that.
    pub since: DateTime<Utc>,
    /// How long an event may take to arrive: what is younger is not looked at.
    pub arrival: Duration,
    /// Deliveries, give or take a statement's rows; it ends when there are that many.
    pub at_most: usize,
    /// It ends after that time; a statement that runs then has a bound of its own.
    pub within: Duration,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// By queue; none has an empty list.
    pub by_queue: BTreeMap<String, Vec<Pair>>,
    /// Where it ended before everything was looked at: what happened until then was.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Walks along the log, and keeps what is not applied and nowhere. What waits in its queue is among it, since the
/// database cannot tell: the caller has to ask the broker.
///
/// # Errors
/// Those of the database.
pub async fn find(connection: &mut Connection, search: Search) -> Result<Missing, StoreError> {
    let began = Instant::now();
    // A day at most, as its setting says.
    let until = Utc::now() - TimeDelta::from_std(search.arrival).unwrap_or(TimeDelta::days(1));
    let mut scan = Scan::new(search.taken, search.since);
    let (mut missing, mut found) = (Missing::default(), 0);
    while !scan.has_reached(until) {
        if found >= search.at_most || began.elapsed() >= search.within {
            missing.ended_at = Some(scan.reached());
            break;
        }
        for one in scan.step(connection, until, search.arrival, AT_ONCE).await? {
            // What is elsewhere comes by itself or is a person's to decide.
            if one.whereabouts == Whereabouts::Unknown {
                found += 1;
                missing.by_queue.entry(one.pair.subscription.clone()).or_default().push(one.pair);
            }
        }
    }
    Ok(missing)
}

/// How many deliveries of what is younger than `arrival` are neither applied nor anywhere that the database knows: on their
/// way, or lost. Counts `at_most`, give or take a statement's rows.
///
/// # Errors
/// Those of the database.
pub async fn younger(
    connection: &mut Connection,
    taken: Taken,
    arrival: Duration,
    at_most: usize,
) -> Result<usize, StoreError> {
    let now = Utc::now();
    let mut scan = Scan::new(taken, now - TimeDelta::from_std(arrival).unwrap_or(TimeDelta::days(1)));
    let mut count = 0;
    while count < at_most && !scan.has_reached(now) {
        let unapplied = scan.step(connection, now, arrival, AT_ONCE).await?;
        count += unapplied.iter().filter(|one| one.whereabouts == Whereabouts::Unknown).count();
    }
    Ok(count)
}
