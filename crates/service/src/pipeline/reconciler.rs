//! Sends again what went missing: events that a subscription never applied and that are nowhere, as after a queue was
//! deleted and made again. See `crate::store::missing`.
//!
//! A backlog looks much the same to the database, so the broker is asked too: only to a queue that was empty at two
//! looks, while the delivery was missing at both, is anything sent. A delivery that was not missing after all is
//! recognised by the inbox.

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
    broker::{BrokerCheck, NotReady, Publisher, resend},
    pipeline::{suspects::Suspects, worker_context::WorkerContext},
    store::{
        Connection, Database, StoreError, failures,
        missing::{self, Claimed, Limits, Pair, Scan, Taken, Unapplied},
        registered,
    },
    telemetry,
};

/// How far back a worker looks that has just started.
const FIRST_LOOK: TimeDelta = TimeDelta::hours(24);

/// Deliveries that are kept an eye on: beyond it the walk along the log waits until some have arrived.
const SUSPECTS: usize = 20_000;

/// Rows that one statement returns.
const AT_ONCE: u16 = 2_000;

/// How long a pass may go on walking along the log.
const WALK: Duration = Duration::from_secs(10);

/// How long a part of a pass may take, with the statements and confirms after the walk.
const PASS: Duration = Duration::from_secs(60);

/// What is still missing after five times needs a person.
const LIMITS: Limits = Limits { times: 5, at_once: 500 };

/// How long things may take before something is done.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// An event that is older should have arrived.
    pub arrival: Duration,
    /// Between two passes, give or take a tenth, and at least between the two looks.
    pub interval: Duration,
}

impl Patience {
    /// Looks five times while an event may still arrive, but at most once a minute.
    #[must_use]
    pub fn new(arrival: Duration) -> Self {
        Self { arrival, interval: (arrival / 5).min(Duration::from_secs(60)) }
    }
}

/// One for each process. It looks for what the services miss that this process works for; of all processes that work for the same
/// services, one looks at any time.
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

/// The services that this process works for.
#[derive(Debug, Clone)]
struct Own {
    names: String,
    subscriptions: Vec<Subscription>,
}

impl Reconciler {
    /// For the services of this process, which consumes some or all of their queues.
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
            scan: Scan::new(Taken::of(&roster, &own.subscriptions), Utc::now() - FIRST_LOOK),
            suspects: Suspects::default(),
            roster,
            own,
        }
    }

    /// Runs until the process stops. What fails is tried again at the next pass.
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
                        tracing::warn!(error, "missing deliveries cannot be looked for; trying again");
                    }
                    failing = true;
                }
            }
        }
    }

    /// One pass: looks at the broker and at the log, and sends what was missing at two looks.
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
        tracing::debug!(unapplied = found, missing = gone.len(), "looked for missing deliveries");
        self.send(gone).await.map_err(|error| telemetry::chain(&error))
    }

    /// What is not applied of the suspects and of what the log has besides; `None`: another process is looking.
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
        // In a task of its own, so that a process that stops leaves no transaction open.
        let looking = tokio::spawn(async move {
            let looking = async |connection: &mut Connection| {
                connection.transaction(async |connection| look.run(connection).await).await
            };
            database.run(PASS, looking).await
        });
        // A panic there would be a fault of ours; the next pass begins where this one did.
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
                // Whatever of it was sent is recognised when it comes again; a try that may not have been one does not count.
                let unclaiming = async |connection: &mut Connection| missing::unclaim(connection, &mine).await;
                self.database.run(PASS, unclaiming).await?;
                return Err(error);
            }
        };
        for (queue, deliveries) in resent.by_queue {
            tracing::warn!(queue, deliveries, "these deliveries were missing and are sent again");
        }
        Ok(())
    }

    fn give_up(&mut self, given_up: &HashSet<Pair>) {
        for pair in given_up {
            self.suspects.forget(pair);
            tracing::error!(
                queue = pair.subscription, event.id = %pair.event_id,
                "an event was sent again {} times and never applied: `orderflow why` its order", LIMITS.times
            );
        }
    }
}

/// What a pass asks the database, in one transaction of which only one runs at a time.
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
        // The order service takes what services outside these programs publish, too.
        let roster = self.roster.with(&registered::list(connection).await?);
        self.scan.set_taken(Taken::of(&roster, &self.own.subscriptions));
        let mut unapplied = missing::recheck(connection, &self.known, self.patience.arrival).await?;
        let began = Instant::now();
        while !self.scan.has_reached(self.until) && unapplied.len() < SUSPECTS && began.elapsed() < WALK {
            let found = self.scan.step(connection, self.until, self.patience.arrival, AT_ONCE).await?;
            unapplied.extend(found);
        }
        Ok(Some((self.scan, unapplied)))
    }
}

/// How many messages wait in each work queue; those that do not exist are left out.
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

/// Leaves out what may lie in a dead-letter queue without the index knowing: a queue with more dead letters than are
/// in the index. A message that ended every worker that took it gets there by RabbitMQ alone, and must not come back.
async fn without_unknown_dead_letters(
    connection: &mut Connection,
    check: &BrokerCheck,
    gone: Vec<Pair>,
) -> Result<Vec<Pair>, StoreError> {
    let mut held_back = HashSet::new();
    let queues: HashSet<&str> = gone.iter().map(|pair| pair.subscription.as_str()).collect();
    // The broker first: a message that dies in between is then in the index only.
    let mut there = HashMap::new();
    for queue in queues {
        // A dead-letter queue that cannot be asked may hold anything.
        let letters = match check.ready_messages(&format!("{queue}.dlq")).await {
            Ok(letters) => i64::from(letters),
            Err(NotReady::Missing(_)) => 0,
            Err(NotReady::Unreachable(_) | NotReady::NoVhost(_)) => i64::MAX,
        };
        there.insert(queue.to_owned(), letters);
    }
    let known = failures::waiting(connection).await?;
    for (queue, letters) in there {
        let known = known.get(&queue).copied().unwrap_or(0);
        if letters > known {
            tracing::warn!(
                queue,
                letters,
                known,
                "deliveries are missing, but there are dead letters of which nothing was written down, so nothing is \
                 sent again: look at them with `orderflow dlq list`, then `orderflow republish --missing`"
            );
            held_back.insert(queue);
        }
    }
    Ok(gone.into_iter().filter(|pair| !held_back.contains(&pair.subscription)).collect())
}
