//! `orderflow republish --missing`: sends again what subscriptions never got.

use std::{collections::BTreeMap, io::Write, time::Duration};

use chrono::{TimeDelta, Utc};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Exit, Failed,
    dlq::{Answer, QueuePattern, ask},
    missing::{Missing, Search},
};
use crate::{
    broker::{BrokerCheck, BrokerError, Connector, NotReady, Publisher, Subscription, resend},
    config::{self, BrokerConfig, DatabaseConfig, Source},
    store::{
        Connection, Database,
        missing::{self, Pair, Taken},
    },
    timestamp,
};

/// Deliveries that one run sends: more are there for the next one.
const AT_MOST: usize = 100_000;

/// Messages that are under way at once.
const SENT_AT_ONCE: usize = 500;

/// How long connecting may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What to send again.
#[derive(Debug, Clone, clap::Args)]
pub struct RepublishOptions {
    /// What a subscription has neither applied nor in a retry tier or dead-letter queue, as after its queue was deleted
    #[arg(long, required = true)]
    pub missing: bool,
    /// How far to look back
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = humantime::parse_duration)]
    pub since: Duration,
    /// Only for this queue, by name or pattern: payment.order-created, or 'payment.*'
    #[arg(long, value_name = "NAME-OR-GLOB")]
    pub queue: Option<QueuePattern>,
    /// Only say what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Also to queues in which messages wait: what is missing may just wait there
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// What is missing of one queue, and what is to be done about it.
#[derive(Default)]
struct Plan {
    pairs: Vec<Pair>,
    /// Why nothing is sent to this queue.
    refused: Option<String>,
    sent: usize,
}

/// Sends events again, each straight to the queue of the subscription that lacks it. One that was not missing after
/// all is recognised by the inbox.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, options: &RepublishOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    let (broker, database) = (BrokerConfig::read_admin(source), DatabaseConfig::read(source));
    let arrival = config::reconcile_after(source);
    let all = broker.zip(database).zip(arrival);
    let ((broker, database), arrival) = source.finish(all)?;
    let connector = Connector::new(&broker, "orderflow republish")?;
    let database = Database::new(&database, "orderflow republish", 1)?;
    let mut connection = database.connection().await?;
    let check = BrokerCheck::new(&connector)?;
    check.exchange_exists().await?;

    let (mut plans, complete) = find(&mut connection, options, arrival).await?;
    for (queue, plan) in &mut plans {
        plan.refused = refusal(&check, queue, options.force).await?;
    }
    let mut report = Report { plans, complete, dry_run: options.dry_run };
    if !options.json {
        report.print_found(out)?;
    }
    let sendable = report.sendable();
    if sendable > 0 && !options.dry_run {
        if ask(&format!("Send {sendable} again?"), options.yes, out).await? == Answer::No {
            writeln!(out, "Nothing was sent.")?;
            return Ok(Exit::No);
        }
        send(&mut connection, connector, &mut report.plans).await?;
    }
    report.conclude(options.json, out)
}

/// What is missing, by queue; and whether that is all.
async fn find(
    connection: &mut Connection,
    options: &RepublishOptions,
    arrival: Duration,
) -> Result<(BTreeMap<String, Plan>, bool), Failed> {
    let far = || Failed::Usage("--since goes further back than there is time".to_owned());
    let since = TimeDelta::from_std(options.since).ok().and_then(|since| Utc::now().checked_sub_signed(since));
    let taken = taken(options.queue.as_ref());
    // However long it takes: every statement has its bound, and whoever does not want to wait ends it.
    let search = Search { taken, since: since.ok_or_else(far)?, arrival, at_most: AT_MOST, within: Duration::MAX };
    let Missing { by_queue, ended_at } = super::missing::find(connection, search).await?;
    let plan = |(queue, pairs)| (queue, Plan { pairs, ..Plan::default() });
    Ok((by_queue.into_iter().map(plan).collect(), ended_at.is_none()))
}

fn taken(queue: Option<&QueuePattern>) -> Taken {
    let chosen = |one: &&Subscription| queue.is_none_or(|pattern| pattern.matches(**one));
    Subscription::ALL.iter().filter(chosen).map(|one| (one.kind().routing_key(), one.queue())).collect()
}

async fn refusal(check: &BrokerCheck, queue: &str, force: bool) -> Result<Option<String>, Failed> {
    match check.ready_messages(queue).await {
        Ok(0) => Ok(None),
        Ok(_) if force => Ok(None),
        Ok(waiting) => Ok(Some(format!(
            "{waiting} messages wait in it, and these may be among them: let them be worked off first, or say --force"
        ))),
        Err(missing @ NotReady::Missing(_)) => Ok(Some(missing.to_string())),
        Err(unreachable) => Err(unreachable.into()),
    }
}

async fn send(
    connection: &mut Connection,
    connector: Connector,
    plans: &mut BTreeMap<String, Plan>,
) -> Result<(), Failed> {
    let stop = CancellationToken::new();
    let publisher = Publisher::start(connector, stop.clone());
    let _stop = stop.drop_guard();
    tokio::time::timeout(TIMEOUT, publisher.connected()).await.map_err(|_| BrokerError::TimedOut(TIMEOUT))?;
    for plan in plans.values_mut().filter(|plan| plan.refused.is_none()) {
        for some in plan.pairs.chunks(SENT_AT_ONCE) {
            // Noted before, so that no worker sends the same meanwhile.
            missing::note_resent(connection, some).await?;
            let resent = resend(connection, &publisher, some).await?;
            plan.sent += some.len() - resent.failed.len();
        }
    }
    Ok(())
}

struct Report {
    plans: BTreeMap<String, Plan>,
    complete: bool,
    dry_run: bool,
}

impl Report {
    fn sendable(&self) -> usize {
        self.plans.values().filter(|plan| plan.refused.is_none()).map(|plan| plan.pairs.len()).sum()
    }

    fn print_found(&self, out: &mut impl Write) -> Result<(), Failed> {
        if self.plans.is_empty() {
            writeln!(out, "Nothing is missing.")?;
        }
        for (queue, plan) in &self.plans {
            writeln!(out, "{queue}: {} missing", plan.pairs.len())?;
            if let Some(why) = &plan.refused {
                writeln!(out, "    not sent: {why}")?;
            }
        }
        if !self.complete {
            writeln!(out, "There may be more: only the first {AT_MOST} or so were looked for. Run this again.")?;
        }
        Ok(())
    }

    fn conclude(&self, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
        let sent: usize = self.plans.values().map(|plan| plan.sent).sum();
        let unsent = self.sendable() - sent;
        let refused = self.plans.values().any(|plan| plan.refused.is_some());
        let well = self.dry_run || unsent == 0;
        if json {
            let queues: Vec<_> = self.plans.iter().map(|(queue, plan)| {
                json!({ "queue": queue, "missing": plan.pairs.len(), "sent": plan.sent, "refused": plan.refused })
            }).collect();
            let report = json!({
                "schema_version": 1, "generated_at": timestamp::format(&Utc::now()), "dry_run": self.dry_run,
                "complete": self.complete, "queues": queues,
            });
            serde_json::to_writer_pretty(&mut *out, &report)?;
            writeln!(out)?;
        } else if self.dry_run {
            writeln!(out, "{} would be sent.", self.sendable())?;
        } else if sent > 0 {
            writeln!(out, "{sent} sent.")?;
        }
        if !well && !json {
            writeln!(out, "{unsent} could not be sent: RabbitMQ did not confirm them. Run this again.")?;
        }
        Ok(if well && !refused { Exit::Ok } else { Exit::No })
    }
}
