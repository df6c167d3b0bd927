//! Finds missing deliveries: compares the log with the inbox, and then with the queues. While messages wait in a queue,
//! the unapplied events may be among them: that is a backlog, and nothing is missing.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_service::{
    Subscription,
    broker::NotReady,
    store::{
        StoreError,
        missing::{ConsumedEvents, Pair, Whereabouts, recheck},
    },
    telemetry,
};

use super::{
    database::Indexed,
    queues::{Queues, SECOND_LOOK},
    report::Checkup,
};
use crate::ops::{
    missing::{self, Missing, Search, find},
    words::{are, clock, count, some},
};
use crate::services::roster;

/// How far to search back: as far as workers do. `orderflow republish` searches further.
const HOURS_BACK: i64 = 24;

/// The search stops at this many: more would not change the report.
const AT_MOST: usize = 5_000;

/// The longest search: an operator waits for it.
const WITHIN: Duration = Duration::from_secs(10);

/// The result of the check.
#[derive(Debug, Default)]
struct Seen {
    /// Missing deliveries by queue.
    missing: BTreeMap<String, usize>,
    /// Queues with waiting messages.
    backlogs: Vec<String>,
    /// Queues whose dead-letter queue holds more messages than the index names: missing deliveries may be among these.
    unnamed: Vec<String>,
    /// Where the search of the log ended early.
    ended_at: Option<DateTime<Utc>>,
    /// Queues of services that do not record what they have applied.
    untracked: Vec<String>,
    /// Unapplied deliveries of events that are too young to count as missing.
    younger: usize,
    /// The age below which an event is too young.
    arrival: Duration,
}

/// Searches if both database and broker could be read; `arrival` is how long an event may take to arrive.
pub async fn check(found: &mut Checkup, indexed: Option<&Indexed>, queues: Option<&Queues>, arrival: Option<Duration>) {
    let (Some(indexed), Some(queues), Some(arrival)) = (indexed, queues, arrival) else { return };
    match scan(indexed, queues, arrival).await {
        Ok(seen) => tell(found, &seen),
        Err(error) => found.cannot("missing", telemetry::chain(&error)),
    }
}

async fn scan(indexed: &Indexed, queues: &Queues, arrival: Duration) -> Result<Seen, StoreError> {
    let (backlogs, others): (Vec<Subscription>, Vec<Subscription>) =
        roster().subscriptions().iter().partition(|one| queues.work.get(&one.queue()).is_some_and(|ready| *ready > 0));
    let consumed = ConsumedEvents::of(roster(), &others);
    let since = Utc::now() - TimeDelta::hours(HOURS_BACK);
    let mut connection = indexed.database.connection().await?;
    let younger = missing::younger(&mut connection, consumed.clone(), arrival, AT_MOST).await?;
    let search = Search { consumed, since, arrival, at_most: AT_MOST, within: WITHIN };
    let Missing { mut by_queue, ended_at } = find(&mut connection, search).await?;
    let backlogs = backlogs.iter().map(|one| one.queue()).collect();
    let untracked = others.iter().filter(|one| !roster().is_tracked(**one)).map(|one| one.queue()).collect();
    let mut seen = Seen { backlogs, untracked, ended_at, younger, arrival, ..Seen::default() };
    if !by_queue.is_empty() {
        // By then, deliveries that a worker was handling, or that moved between queues, are applied or elsewhere.
        tokio::time::sleep(SECOND_LOOK).await;
        let pairs: Vec<Pair> = by_queue.into_values().flatten().collect();
        by_queue = BTreeMap::new();
        for one in recheck(&mut connection, &pairs, arrival).await? {
            if one.whereabouts == Whereabouts::Unknown {
                by_queue.entry(one.pair.subscription.clone()).or_default().push(one.pair);
            }
        }
    }
    for (queue, pairs) in by_queue {
        match queues.broker.ready_messages(&queue).await {
            Ok(ready) if ready > 0 => seen.backlogs.push(queue),
            // A missing queue holds nothing. If the broker has become unavailable meanwhile, the first result counts.
            Ok(_) | Err(NotReady::Missing(_) | NotReady::NoVhost(_) | NotReady::Unreachable(_)) => {
                let known = indexed.dead_letters.get(&queue).copied().unwrap_or(0);
                if queues.dead.get(&queue).is_some_and(|there| i64::from(*there) > known) {
                    seen.unnamed.push(queue.clone());
                }
                seen.missing.insert(queue, pairs.len());
            }
        }
    }
    Ok(seen)
}

fn tell(found: &mut Checkup, seen: &Seen) {
    let all: usize = seen.missing.values().sum();
    let mut saw = if all == 0 { format!("none in the last {HOURS_BACK} h") } else { count(all, "delivery") };
    if let Some(ended_at) = seen.ended_at {
        saw.push_str(&format!("; searched only up to {}, because it took too long", clock(&ended_at, &Utc::now())));
    }
    if seen.younger > 0 {
        let young = humantime::format_duration(seen.arrival);
        saw.push_str(&format!("; {} of the last {young} not applied yet, which may be on the way", seen.younger));
    }
    if !seen.backlogs.is_empty() {
        saw.push_str(&format!("; not searched where messages wait: {}", some(&seen.backlogs)));
    }
    if !seen.untracked.is_empty() {
        saw.push_str(&format!("; not tracked: {}", some(&seen.untracked)));
    }
    found.saw("missing", saw);
    if all == 0 {
        return;
    }
    let at_least = if seen.ended_at.is_some() { "At least " } else { "" };
    let queues: Vec<_> = seen.missing.iter().map(|(queue, missing)| format!("{missing} of {queue}")).collect();
    let deliveries = are(all, "delivery");
    let what = format!("{at_least}{deliveries} missing, neither applied nor found anywhere: {}.", some(&queues));
    found.found("missing", what, remedy(seen));
}

fn remedy(seen: &Seen) -> String {
    let mut queues = seen.missing.keys();
    let only = match (queues.next(), queues.next()) {
        (Some(queue), None) => format!(" --queue {queue}"),
        _ => String::new(),
    };
    let mut remedy = format!(
        "`orderflow republish --missing{only}` republishes what is missing. Workers also do so automatically within minutes, up \
         to five times; after that, `orderflow why ORDER` shows what became of it"
    );
    if !seen.unnamed.is_empty() {
        remedy.push_str(&format!(
            ". First check `orderflow dlq list`: some may be among the dead letters of {} that the index does not \
             name",
            some(&seen.unnamed)
        ));
    }
    remedy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(seen: &Seen) -> String {
        let mut checkup = Checkup::new();
        tell(&mut checkup, seen);
        let mut out = Vec::new();
        checkup.tell(&mut out).expect("a Vec can be written to");
        let text = String::from_utf8(out).expect("it is text");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn seen(missing: &[(&str, usize)]) -> Seen {
        let missing = missing.iter().map(|(queue, missing)| ((*queue).to_owned(), *missing)).collect();
        Seen { missing, ..Seen::default() }
    }

    #[test]
    fn missing_deliveries_are_reported_with_what_was_not_searched() {
        assert!(rendered(&seen(&[])).contains("Nothing is wrong. Checked: missing none in the last 24 h"));
        let backlog = Seen { backlogs: vec!["a".to_owned()], ..seen(&[]) };
        assert!(rendered(&backlog).ends_with("none in the last 24 h; not searched where messages wait: a"));
        let one = rendered(&seen(&[("a", 1)]));
        assert!(one.contains("1 delivery is missing, neither applied nor found anywhere: 1 of a."), "{one}");
        assert!(one.contains("`orderflow republish --missing --queue a`"), "{one}");
        let two = rendered(&seen(&[("a", 1), ("b", 2)]));
        assert!(two.contains("3 deliveries are missing") && two.contains("1 of a, 2 of b."), "{two}");
        assert!(two.contains("`orderflow republish --missing`") && !two.contains("dlq list"), "{two}");
        let partly = Seen { ended_at: Some(Utc::now()), ..seen(&[("a", 1)]) };
        assert!(rendered(&partly).contains("At least 1 delivery is missing"));
        assert!(rendered(&partly).contains("1 delivery; searched only up to"));
        let nothing_yet = Seen { ended_at: Some(Utc::now()), ..seen(&[]) };
        assert!(rendered(&nothing_yet).contains("none in the last 24 h; searched only up to"));
        let young = Seen { younger: 2, arrival: Duration::from_secs(300), ..seen(&[]) };
        assert!(
            rendered(&young)
                .ends_with("none in the last 24 h; 2 of the last 5m not applied yet, which may be on the way")
        );
        let untracked = Seen { untracked: vec!["a".to_owned()], ..seen(&[]) };
        assert!(rendered(&untracked).ends_with("none in the last 24 h; not tracked: a"));
        let unnamed = Seen { unnamed: vec!["a".to_owned()], ..seen(&[("a", 1)]) };
        assert!(rendered(&unnamed).contains("among the dead letters of a that the index does not name"));
    }
}
