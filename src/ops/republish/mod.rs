//! `orderflow republish`: republishes events that subscriptions never got, or publishes events that were never
//! published.

mod options;
mod plan;
mod report;
mod unpublished;

use std::{collections::HashSet, io::Write, time::Duration};

use orderflow_service::{
    broker::{BrokerCheck, BrokerError, Connector, Publisher, resend},
    config::{self, BrokerConfig, DatabaseConfig, Source},
    store::{
        Connection, Database,
        missing::{self, Pair},
        purged::{self, Became, Listed},
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Exit, Failed, Principal, What,
    dlq::{Answer, QueuePattern, ask, check_queue},
    principal,
};
use crate::store::actions::Outcome;
pub use options::RepublishOptions;
use plan::{Found, Plan, Plans};
use report::Report;

/// The most messages published concurrently.
const SENT_AT_ONCE: usize = 500;

/// How long connecting may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// With `--missing`, republishes events, each straight to the queue of the subscription that lacks it. With `--outbox`,
/// publishes the events in the outbox. The inbox recognises events that were there after all.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, options: &RepublishOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    if options.outbox {
        return unpublished::run(source, options, out).await;
    }
    check_queue(options.queue.as_ref())?;
    let (broker, database) = (BrokerConfig::read_admin(source), DatabaseConfig::read(source));
    let arrival = config::reconcile_after(source);
    let all = broker.zip(database).zip(arrival);
    let ((broker, database), arrival) = source.finish(all)?;
    let connector = Connector::new(&broker, "orderflow republish");
    let database = Database::new(&database, "orderflow republish", 1)?;
    let mut connection = database.connection().await?;
    let check = BrokerCheck::new(&connector)?;
    check.exchange_exists().await?;

    let Found { mut plans, complete, younger, untracked } = plan::find(&mut connection, options, arrival).await?;
    for (queue, plan) in &mut plans {
        plan.ask(&check, queue, options.force).await?;
    }
    let mut report = Report { plans, complete, younger, untracked, arrival, dry_run: options.dry_run };
    if !options.json {
        report.print_found(out)?;
    }
    if let Some(question) = report.question().filter(|_| !options.dry_run) {
        if ask(&question, options.yes, out).await? == Answer::No {
            writeln!(out, "Nothing was sent.")?;
            return Ok(Exit::No);
        }
        send_noted(&mut connection, connector, &mut report.plans, options).await?;
    }
    report.conclude(options.json, out)
}

/// Sends the events. Records who does so beforehand, and the outcome afterwards.
async fn send_noted(
    connection: &mut Connection,
    connector: Connector,
    plans: &mut Plans,
    options: &RepublishOptions,
) -> Result<(), Failed> {
    let (actor, target) = (Principal::system_user(), options.queue.as_ref().map_or("*", QueuePattern::as_str));
    let what = (What::Republish, target);
    let found: usize = plans.values().map(Plan::sendable).sum();
    let asked = json!({ "purged": options.purged, "force": options.force, "found": found });
    actor.note(connection, what, &asked, Outcome::Begun).await?;
    let sent = send(connection, connector, plans).await;
    let (outcome, details) = match &sent {
        Ok(()) => (Outcome::Done, json!({ "sent": plans.values().map(|plan| plan.sent).sum::<usize>() })),
        Err(error) => (Outcome::Failed, principal::because(error)),
    };
    let noted = actor.note(connection, what, &details, outcome).await;
    sent?;
    Ok(noted?)
}

async fn send(connection: &mut Connection, connector: Connector, plans: &mut Plans) -> Result<(), Failed> {
    let stop = CancellationToken::new();
    let publisher = Publisher::start(connector, stop.clone());
    let _stop = stop.drop_guard();
    tokio::time::timeout(TIMEOUT, publisher.connected()).await.map_err(|_| BrokerError::TimedOut(TIMEOUT))?;
    for plan in plans.values_mut() {
        let Plan { mut sent, mut taken_off, .. } = *plan;
        for some in plan.missing().chunks(SENT_AT_ONCE) {
            sent += send_pairs(connection, &publisher, some).await?.len();
        }
        for some in plan.purged().chunks(SENT_AT_ONCE) {
            let done = send_purged(connection, &publisher, some).await?;
            (sent, taken_off) = (sent + done.sent, taken_off + done.taken_off);
        }
        (plan.sent, plan.taken_off) = (sent, taken_off);
    }
    Ok(())
}

/// Sends these deliveries, and returns those that the broker confirmed.
async fn send_pairs(
    connection: &mut Connection,
    publisher: &Publisher,
    pairs: &[Pair],
) -> Result<HashSet<Pair>, Failed> {
    // Recorded first, so that no worker sends the same deliveries meanwhile.
    missing::note_resent(connection, pairs).await?;
    let failed: HashSet<Pair> = resend(connection, publisher, pairs).await?.failed.into_iter().collect();
    Ok(pairs.iter().filter(|pair| !failed.contains(pair)).cloned().collect())
}

struct Done {
    sent: usize,
    taken_off: usize,
}

/// Sends the purged messages that have an event, and removes finished ones from the list.
///
/// A message is removed only once the broker has it. A crash in between leaves the row; the message is then sent a
/// second time, and the inbox recognises it.
async fn send_purged(connection: &mut Connection, publisher: &Publisher, some: &[Listed]) -> Result<Done, Failed> {
    // Send each once, although a message that was dead-lettered twice at the same time may have two rows.
    let pairs: HashSet<Pair> = some.iter().filter_map(Listed::pair).collect();
    let sent = send_pairs(connection, publisher, &pairs.into_iter().collect::<Vec<_>>()).await?;
    let is_sent = |one: &&Listed| one.pair().is_some_and(|pair| sent.contains(&pair));
    let ids: Vec<i64> = some.iter().filter(is_sent).map(|one| one.id).collect();
    purged::take_off(connection, &ids, Became::Republished).await?;
    let nothing: Vec<i64> = some.iter().filter(|one| one.event_id.is_none()).map(|one| one.id).collect();
    purged::take_off(connection, &nothing, Became::Nothing).await?;
    Ok(Done { sent: ids.len(), taken_off: nothing.len() })
}
