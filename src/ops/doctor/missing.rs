//! Did deliveries go missing? The log is compared with the inbox, and then with the queues: while messages wait in a
//! queue, what it lacks may just wait there, so it is a backlog and nothing is missing.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_service::{
    Subscription,
    broker::NotReady,
    store::{
        StoreError,
        missing::{Pair, Taken, Whereabouts, recheck},
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
    words::{clock, some},
};
use crate::services::roster;

/// As far back as workers look; `orderflow republish` looks further.
const HOURS_BACK: i64 = 24;

/// More would not be told differently.
const AT_MOST: usize = 5_000;

/// Whoever called the doctor waits for it.
const WITHIN: Duration = Duration::from_secs(10);

/// What was seen of it all.
#[derive(Debug, Default)]
struct Seen {
    /// Deliveries by queue.
    missing: BTreeMap<String, usize>,
    /// Queues in which messages wait.
    backlogs: Vec<String>,
    /// Queues whose dead-letter queue holds more than the index names: theirs may be among it.
    unnamed: Vec<String>,
    /// Where the look at the log ended too early.
    ended_at: Option<DateTime<Utc>>,
    /// Queues of services that do not say what they have applied.
    untracked: Vec<String>,
    /// Deliveries of events that are too young to be missed.
    younger: usize,
    /// How young that is.
    arrival: Duration,
}

/// Looks for them, where both database and broker could be read; `arrival` is how long an event may take to arrive.
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
    let taken = Taken::of(roster(), &others);
    let since = Utc::now() - TimeDelta::hours(HOURS_BACK);
    let mut connection = indexed.database.connection().await?;
    let younger = missing::younger(&mut connection, taken.clone(), arrival, AT_MOST).await?;
    let search = Search { taken, since, arrival, at_most: AT_MOST, within: WITHIN };
    let Missing { mut by_queue, ended_at } = find(&mut connection, search).await?;
    let backlogs = backlogs.iter().map(|one| one.queue()).collect();
    let untracked = others.iter().filter(|one| !roster().is_tracked(**one)).map(|one| one.queue()).collect();
    let mut seen = Seen { backlogs, untracked, ended_at, younger, arrival, ..Seen::default() };
    if !by_queue.is_empty() {
        // What was in a worker's hands, or on its way from one queue to another, is applied or somewhere by then.
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
            // A queue that does not exist has nothing; where the broker went away meanwhile, the first look counts.
            Ok(_) | Err(NotReady::Missing(_) | NotReady::NoVhost(_) | NotReady::Unreachable(_)) => {
                let known = indexed.letters.get(&queue).copied().unwrap_or(0);
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
    let deliveries = if all == 1 { "1 delivery".to_owned() } else { format!("{all} deliveries") };
    let mut saw = if all == 0 { format!("none in the last {HOURS_BACK} h") } else { deliveries.clone() };
    if let Some(ended_at) = seen.ended_at {
        saw.push_str(&format!("; looked no further than {}, since it took too long", clock(&ended_at, &Utc::now())));
    }
    if seen.younger > 0 {
        let young = humantime::format_duration(seen.arrival);
        saw.push_str(&format!("; {} of the last {young} not applied yet, which may be on the way", seen.younger));
    }
    if !seen.backlogs.is_empty() {
        saw.push_str(&format!("; not looked for where messages wait: {}", some(&seen.backlogs)));
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
    let is = if all == 1 { "is" } else { "are" };
    let what = format!("{at_least}{deliveries} {is} missing, not applied and nowhere to be found: {}.", some(&queues));
    found.found("missing", what, remedy(seen));
}

fn remedy(seen: &Seen) -> String {
    let mut queues = seen.missing.keys();
    let only = match (queues.next(), queues.next()) {
        (Some(queue), None) => format!(" --queue {queue}"),
        _ => String::new(),
    };
    let mut remedy = format!(
        "`orderflow republish --missing{only}` sends again what is missing; so do workers by themselves within minutes, up \
         to five times, and after that `orderflow why ORDER` says what became of it"
    );
    if !seen.unnamed.is_empty() {
        remedy.push_str(&format!(
            ". First look at `orderflow dlq list`: some may be among the dead letters of {}, of which nothing was \
             written down",
            some(&seen.unnamed)
        ));
    }
    remedy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seen: &Seen) -> String {
        let mut checkup = Checkup::new();
        tell(&mut checkup, seen);
        let mut told = Vec::new();
        checkup.tell(&mut told).expect("a Vec can be written to");
        let told = String::from_utf8(told).expect("it is text");
        told.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn seen(missing: &[(&str, usize)]) -> Seen {
        let missing = missing.iter().map(|(queue, missing)| ((*queue).to_owned(), *missing)).collect();
        Seen { missing, ..Seen::default() }
    }

    #[test]
    fn what_is_missing_is_told_with_what_was_not_looked_at() {
        assert!(told(&seen(&[])).contains("Nothing is wrong. Looked at: missing none in the last 24 h"));
        let backlog = Seen { backlogs: vec!["a".to_owned()], ..seen(&[]) };
        assert!(told(&backlog).ends_with("none in the last 24 h; not looked for where messages wait: a"));
        let one = told(&seen(&[("a", 1)]));
        assert!(one.contains("1 delivery is missing, not applied and nowhere to be found: 1 of a."), "{one}");
        assert!(one.contains("`orderflow republish --missing --queue a`"), "{one}");
        let two = told(&seen(&[("a", 1), ("b", 2)]));
        assert!(two.contains("3 deliveries are missing") && two.contains("1 of a, 2 of b."), "{two}");
        assert!(two.contains("`orderflow republish --missing`") && !two.contains("dlq list"), "{two}");
        let partly = Seen { ended_at: Some(Utc::now()), ..seen(&[("a", 1)]) };
        assert!(told(&partly).contains("At least 1 delivery is missing"));
        assert!(told(&partly).contains("1 delivery; looked no further than"));
        let nothing_yet = Seen { ended_at: Some(Utc::now()), ..seen(&[]) };
        assert!(told(&nothing_yet).contains("none in the last 24 h; looked no further than"));
        let young = Seen { younger: 2, arrival: Duration::from_secs(300), ..seen(&[]) };
        assert!(
            told(&young).ends_with("none in the last 24 h; 2 of the last 5m not applied yet, which may be on the way")
        );
        let untracked = Seen { untracked: vec!["a".to_owned()], ..seen(&[]) };
        assert!(told(&untracked).ends_with("none in the last 24 h; not tracked: a"));
        let unnamed = Seen { unnamed: vec!["a".to_owned()], ..seen(&[("a", 1)]) };
        assert!(told(&unnamed).contains("among the dead letters of a, of which nothing was written down"));
    }
}
