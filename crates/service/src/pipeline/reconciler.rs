//! Republishes lost deliveries: events that a subscription never applied and that are nowhere, for example after a
//! queue was deleted and recreated. See `crate::store::missing`.
//!
//! To the database a backlog looks much the same, so this also checks the broker. A delivery is republished only if it
//! was missing in two passes while its queue was empty. If the delivery was not lost after all, the inbox recognises
//! the repetition.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncConnection as _;
use rand::RngExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Roster, Subscription,
    broker::{BrokerCheck, NotReady, Publisher, names, resend},
    pipeline::{suspects::Suspects, worker_context::WorkerContext},
    store::{
        Connection, Database, StoreError, failures,
        missing::{self, Claimed, ConsumedEvents, Limits, Pair, Scan, Unapplied},
        registered,
    },
    telemetry,
};

/// How far back a newly started worker searches.
const FIRST_LOOK: TimeDelta = TimeDelta::hours(24);

/// The most deliveries to watch. Beyond it the scan of the log pauses until some have arrived.
const SUSPECTS: usize = 20_000;

/// Rows that one statement returns.
const AT_ONCE: u16 = 2_000;

/// How long one pass may scan the log.
const WALK: Duration = Duration::from_secs(10);

/// How long each part of a pass may take, including the statements and confirms after the scan.
const PASS: Duration = Duration::from_secs(60);

/// A delivery still missing after five tries needs an operator.
const LIMITS: Limits = Limits { times: 5, at_once: 500 };

/// When a missing delivery counts as lost.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// An event older than this should have arrived.
    pub arrival: Duration,
    /// The least time between two passes, and between the two that find a delivery missing. A pass may start up to a
    /// tenth later.
    pub interval: Duration,
}

impl Patience {
    /// Schedules five passes while an event may still arrive, and at least one a minute.
    #[must_use]
    pub fn new(arrival: Duration) -> Self {
        Self { arrival, interval: (arrival / 5).min(Duration::from_secs(60)) }
    }
}

/// Finds and republishes lost deliveries of the services that this process runs. Of all processes with the same
/// services, only one searches at any time.
pub struct Reconciler {
    database: Database,
    publisher: Publisher,
    check: BrokerCheck,
    patience: Patience,
    stop: CancellationToken,
    scan: Scan,
    suspects: Suspects,
    roster: Roster,
    own: Own,
}

/// The services that this process runs.
#[derive(Debug, Clone)]
struct Own {
    names: String,
    subscriptions: Vec<Subscription>,
}

impl Reconciler {
    /// Returns the reconciler for the services of this process, which consumes some or all of their queues.
    #[must_use]
    pub fn new(process: &WorkerContext, check: &BrokerCheck, roster: Roster, consumed: &[Subscription]) -> Self {
        let services: BTreeSet<_> = consumed.iter().map(|one| one.service()).collect();
        let subscriptions: Vec<_> =
            roster.subscriptions().iter().copied().filter(|one| services.contains(one.service())).collect();
        let own = Own { names: services.into_iter().collect::<Vec<_>>().join(" "), subscriptions };
        Self {
            database: process.database.clone(),
            publisher: process.publisher.clone(),
            check: check.clone(),
            patience: Patience::new(process.config.reconcile_after),
            stop: process.stop.clone(),
            scan: Scan::new(ConsumedEvents::of(&roster, &own.subscriptions), Utc::now() - FIRST_LOOK),
            suspects: Suspects::default(),
            roster,
            own,
        }
    }

    /// Runs until the process stops. A failed pass is retried at the next one.
    pub async fn run(mut self) {
        let mut failing = false;
        loop {
            let pause = self.patience.interval.mul_f64(rand::rng().random_range(1.0..1.1));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
            match self.pass().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(error, "the search for missing deliveries failed; trying again");
                    }
                    failing = true;
                }
            }
        }
    }

    /// Runs one pass: inspects the broker and the log, and republishes deliveries that were missing in two passes.
    async fn pass(&mut self) -> Result<(), String> {
        if !self.publisher.is_connected() {
            return Ok(());
        }
        let queues = inspect_queues(&self.check, &self.own.subscriptions).await.map_err(|error| error.to_string())?;
        let Some(unapplied) = self.scan_log().await.map_err(|error| telemetry::chain(&error))? else {
            return Ok(());
        };
        let found = unapplied.len();
        let gone = self.suspects.observe(unapplied, &queues, Instant::now(), self.patience.interval);
        tracing::debug!(unapplied = found, missing = gone.len(), "searched for missing deliveries");
        self.send(gone).await.map_err(|error| telemetry::chain(&error))
    }

    /// Returns the unapplied deliveries among the suspects and in the next part of the log; `None` while another
    /// process searches.
    async fn scan_log(&mut self) -> Result<Option<Vec<Unapplied>>, StoreError> {
        let until = Utc::now() - TimeDelta::from_std(self.patience.arrival).unwrap_or(FIRST_LOOK);
        let look = LogScan {
            scan: self.scan.clone(),
            until,
            patience: self.patience,
            known: self.suspects.pairs(),
            roster: self.roster.clone(),
            own: self.own.clone(),
        };
        let database = self.database.clone();
        // In its own task, so that a stopping process leaves no transaction open.
        let looking = tokio::spawn(async move {
            let looking = async |connection: &mut Connection| {
                connection.transaction(async |connection| look.run(connection).await).await
            };
            database.run(PASS, looking).await
        });
        // A panic there would be our bug; the next pass starts from the same place.
        let Ok(looked) = looking.await else { return Ok(None) };
        Ok(looked?.map(|(scan, unapplied)| {
            self.scan = scan;
            unapplied
        }))
    }

    async fn send(&mut self, gone: Vec<Pair>) -> Result<(), StoreError> {
        if gone.is_empty() {
            return Ok(());
        }
        let (check, arrival) = (&self.check, self.patience.arrival);
        let claiming = async |connection: &mut Connection| {
            let gone = without_unknown_dead_letters(connection, check, gone).await?;
            missing::claim(connection, &gone, LIMITS, arrival).await
        };
        let Claimed { mine, given_up } = self.database.run(PASS, claiming).await?;
        self.give_up(&given_up);
        let mine: Vec<Pair> = mine.into_iter().collect();
        let publisher = &self.publisher;
        let sending = async |connection: &mut Connection| {
            let resent = resend(connection, publisher, &mine).await?;
            if !resent.failed.is_empty() {
                missing::unclaim(connection, &resent.failed).await?;
            }
            Ok::<_, StoreError>(resent)
        };
        let resent = match self.database.run(PASS, sending).await {
            Ok(resent) => resent,
            Err(error) => {
                // Consumers recognise anything that was sent. A try that may not have happened does not count.
                let unclaiming = async |connection: &mut Connection| missing::unclaim(connection, &mine).await;
                self.database.run(PASS, unclaiming).await?;
                return Err(error);
            }
        };
        for (queue, deliveries) in resent.by_queue {
            tracing::warn!(queue, deliveries, "missing deliveries were republished");
        }
        Ok(())
    }

    fn give_up(&mut self, given_up: &HashSet<Pair>) {
        for pair in given_up {
            self.suspects.forget(pair);
            tracing::error!(
                queue = pair.subscription, event.id = %pair.event_id,
                "an event was republished {} times and never applied: run `orderflow why` on its order", LIMITS.times
            );
        }
    }
}

/// The database work of one pass, in one transaction. Only one runs at a time.
struct LogScan {
    scan: Scan,
    until: DateTime<Utc>,
    patience: Patience,
    known: Vec<Pair>,
    roster: Roster,
    own: Own,
}

impl LogScan {
    async fn run(mut self, connection: &mut Connection) -> Result<Option<(Scan, Vec<Unapplied>)>, StoreError> {
        if !missing::be_the_only_one(connection, &self.own.names).await? {
            return Ok(None);
        }
        // The order service also consumes the events of registered services.
        let roster = self.roster.with(&registered::list(connection).await?);
        self.scan.set_consumed(ConsumedEvents::of(&roster, &self.own.subscriptions));
        let mut unapplied = missing::recheck(connection, &self.known, self.patience.arrival).await?;
        let began = Instant::now();
        while !self.scan.has_reached(self.until) && unapplied.len() < SUSPECTS && began.elapsed() < WALK {
            let found = self.scan.step(connection, self.until, self.patience.arrival, AT_ONCE).await?;
            unapplied.extend(found);
        }
        Ok(Some((self.scan, unapplied)))
    }
}

/// Returns how many messages wait in each work queue. Leaves out queues that do not exist.
async fn inspect_queues(check: &BrokerCheck, known: &[Subscription]) -> Result<HashMap<String, u32>, NotReady> {
    let mut queues = HashMap::new();
    for subscription in known {
        let queue = subscription.queue();
        match check.ready_messages(&queue).await {
            Ok(ready) => drop(queues.insert(queue, ready)),
            Err(NotReady::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(queues)
}

/// Leaves out deliveries that may lie unrecorded in a dead-letter queue: their queue holds more dead letters than the
/// index. RabbitMQ itself dead-letters a message that ended every worker that received it, and such a message must not
/// return.
async fn without_unknown_dead_letters(
    connection: &mut Connection,
    check: &BrokerCheck,
    gone: Vec<Pair>,
) -> Result<Vec<Pair>, StoreError> {
    let mut held_back = HashSet::new();
    let queues: HashSet<&str> = gone.iter().map(|pair| pair.subscription.as_str()).collect();
    // Query the broker first: a message that is dead-lettered in between is then only in the index.
    let mut there = HashMap::new();
    for queue in queues {
        // A dead-letter queue that cannot be inspected may hold anything.
        let dead_letters = match check.ready_messages(&names::dead_letter_queue(queue)).await {
            Ok(dead_letters) => i64::from(dead_letters),
            Err(NotReady::Missing(_)) => 0,
            Err(NotReady::Unreachable(_) | NotReady::NoVhost(_)) => i64::MAX,
        };
        there.insert(queue.to_owned(), dead_letters);
    }
    let known = failures::waiting(connection).await?;
    for (queue, dead_letters) in there {
        let known = known.get(&queue).copied().unwrap_or(0);
        if dead_letters > known {
            tracing::warn!(
                queue,
                dead_letters,
                known,
                "deliveries are missing, but the dead-letter queue holds messages without a record, so nothing is \
                 republished: inspect them with `orderflow dlq list`, then run `orderflow republish --missing`"
            );
            held_back.insert(queue);
        }
    }
    Ok(gone.into_iter().filter(|pair| !held_back.contains(&pair.subscription)).collect())
}
