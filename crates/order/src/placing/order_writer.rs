//! Stores accepted orders: many requests in one transaction, each key once.
//!
//! An order, its event and its outbox row are stored in one transaction, and requests are answered only after the
//! commit. Whatever happens to the connection, a batch can simply be retried, since its keys and order ids stay the
//! same. The next attempt finds a commit whose outcome was lost, or waits for it if the server is still processing it.

use std::{collections::BTreeMap, time::Duration};

use orderflow_service::{
    broker::Relay,
    fault::{self, CrashPoint},
    group_commit::Limits,
    split::{self, Parts},
    store::{ANSWER_WITHIN, Connection, Database, StoreError, event_log, outbox::Outgoing},
    telemetry,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::pending_order::{NotPlaced, Outcome, PendingOrder, answer};
use crate::{
    SOURCE,
    domain::OrderNumber,
    store::{
        idempotency::{self, Claim, Fingerprint, Stored},
        orders::{self, NewOrder},
    },
};

/// Three concurrent transactions keep the database busy while one waits for the disk; more only compete for it. A batch
/// of 128 costs hardly more than one of 64. 4,096 waiting orders are about a second's worth.
pub const LIMITS: Limits = Limits { committers: 3, batch: 128, waiting: 4_096, deadline: Duration::from_secs(10) };

/// How long to retry a batch: less than its callers wait, so that they get the outcome.
const TRYING: Duration = Duration::from_secs(8);

/// The time limit of one transaction. After that its connection is abandoned.
const TRANSACTION: Duration = Duration::from_secs(7);

/// The pause before a batch is retried because the database was unavailable.
const PAUSE: Duration = Duration::from_millis(250);

/// The maximum number of times to draw new order numbers after a collision. Even one collision is rare.
const REDRAWS: u8 = 3;

/// Stores batches of orders. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OrderWriter {
    database: Database,
    relay: Relay,
    tasks: TaskTracker,
}

/// Orders that are stored together.
struct Batch {
    orders: Vec<PendingOrder>,
    redraws: u8,
    /// Whether to wait only briefly for locks held by other transactions.
    briefly: bool,
}

impl split::Batch for Batch {
    fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    fn halves(self) -> (Self, Self) {
        let (first, second) = split::Batch::halves(self.orders);
        let part = |orders| Self { orders, redraws: 0, briefly: true };
        (part(first), part(second))
    }
}

/// Why a batch was not stored.
enum Refused {
    /// Another transaction holds one of the keys.
    KeyHeld(StoreError),
    /// Anything else.
    Store(StoreError),
}

impl Refused {
    fn error(&self) -> &StoreError {
        let (Self::KeyHeld(error) | Self::Store(error)) = self;
        error
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<diesel::result::Error> for Refused {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The outcome of each key once its batch is done.
type Known = BTreeMap<String, Result<Stored, NotPlaced>>;

impl OrderWriter {
    /// Creates a writer that submits its events to `relay`.
    #[must_use]
    pub fn new(database: Database, relay: Relay) -> Self {
        Self { database, relay, tasks: TaskTracker::new() }
    }

    /// Stores a batch and returns the outcome of each request, in the same order.
    ///
    /// It runs in a separate task, so that neither a cancelled caller nor a panic leaves a transaction open or kills a
    /// committer.
    pub async fn commit(self, requests: Vec<PendingOrder>) -> Vec<Outcome> {
        let asked = requests.len();
        let tasks = self.tasks.clone();
        tasks.spawn(async move { self.answer(requests).await }).await.unwrap_or_else(|error| {
            tracing::error!(%error, "storing a batch of orders was aborted");
            vec![Err(NotPlaced::Failed); asked]
        })
    }

    /// Waits until no transaction is in progress, for at most `deadline`.
    pub async fn drain(&self, deadline: Duration) {
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                "some orders were still being stored; their clients get the outcome by retrying with the same key"
            );
        }
    }

    /// Returns the outcome of an earlier request with this key, if there was one.
    ///
    /// # Errors
    /// Returns database errors.
    pub async fn placed_before(&self, key: &str, fingerprint: &Fingerprint) -> Result<Option<Outcome>, StoreError> {
        let finding = async |connection: &mut Connection| idempotency::find(connection, &[key]).await;
        let stored = self.database.run(ANSWER_WITHIN, finding).await?;
        Ok(stored.into_iter().next().map(|stored| answer(&stored, fingerprint, None)))
    }

    async fn answer(&self, requests: Vec<PendingOrder>) -> Vec<Outcome> {
        let asked: Vec<(String, Fingerprint, Uuid)> =
            requests.iter().map(|request| (request.key.clone(), request.fingerprint, request.order.id)).collect();
        // Of requests with the same key, the first places the order. The others get its answer, or an error if they
        // differ.
        let mut first = BTreeMap::new();
        for request in requests {
            first.entry(request.key.clone()).or_insert(request);
        }
        let known = self.place(first.into_values().collect()).await;
        asked
            .into_iter()
            .map(|(key, fingerprint, order_id)| match known.get(&key) {
                Some(Ok(stored)) => answer(stored, &fingerprint, Some(order_id)),
                Some(Err(why)) => Err(*why),
                // The day-old key was deleted between two statements. The client's next attempt places a new order.
                None => Err(NotPlaced::InProgress),
            })
            .collect()
    }

    /// Stores these orders, which have different keys: all together if possible, otherwise in ever smaller parts.
    async fn place(&self, orders: Vec<PendingOrder>) -> Known {
        let deadline = Instant::now() + TRYING;
        let mut known = Known::new();
        let mut parts = Parts::of(Batch { orders, redraws: 0, briefly: false });
        while let Some(batch) = parts.take() {
            match self.attempt(&batch).await {
                Ok(stored) => known.extend(stored.into_iter().map(|stored| (stored.key.clone(), Ok(stored)))),
                Err(refused) => match after(&refused, batch, deadline) {
                    Next::Again(batch) => {
                        if refused.error().is_unavailable() {
                            tokio::time::sleep(PAUSE).await;
                        }
                        parts.again(batch);
                    }
                    Next::Split(batch) => parts.split(batch),
                    Next::GiveUp(batch, why) => {
                        report(refused.error(), &batch, why);
                        known.extend(batch.orders.into_iter().map(|order| (order.key, Err(why))));
                    }
                },
            }
        }
        known
    }

    /// Runs one transaction. After an error the orders may be stored nevertheless: only the reply to COMMIT may be
    /// lost.
    async fn attempt(&self, batch: &Batch) -> Result<Vec<Stored>, Refused> {
        use diesel_async::AsyncConnection as _;

        let mut connection = self.database.connection().await?;
        let storing = connection.transaction::<_, Refused, _>(async |connection| store(connection, batch).await);
        match tokio::time::timeout(TRANSACTION, storing).await {
            Ok(done) => {
                let (stored, outgoing) = done?;
                fault::crash_here(CrashPoint::AfterCommit);
                self.relay.submit(outgoing);
                Ok(stored)
            }
            Err(_) => Err(StoreError::TimedOut(TRANSACTION).into()),
        }
    }
}

/// What to do with a batch that failed.
enum Next {
    Again(Batch),
    Split(Batch),
    GiveUp(Batch, NotPlaced),
}

fn after(refused: &Refused, mut batch: Batch, deadline: Instant) -> Next {
    let error = refused.error();
    let key_held = matches!(refused, Refused::KeyHeld(_));
    if error.is_unavailable() && !key_held {
        // The lock that timed out may have been a key's: the next attempt finds out.
        batch.briefly |= error.is_lock_timeout();
        let again = Instant::now() + PAUSE < deadline;
        return if again { Next::Again(batch) } else { Next::GiveUp(batch, NotPlaced::Unavailable) };
    }
    // The order number is the only unique value that is drawn at random and can collide.
    if error.is_unique_violation() && batch.redraws < REDRAWS {
        batch.redraws += 1;
        for placement in &mut batch.orders {
            placement.order.number = OrderNumber::random();
        }
        return Next::Again(batch);
    }
    if batch.orders.len() > 1 {
        return Next::Split(batch);
    }
    Next::GiveUp(batch, if key_held { NotPlaced::InProgress } else { NotPlaced::Failed })
}

fn report(error: &StoreError, batch: &Batch, why: NotPlaced) {
    let (error, orders) = (telemetry::chain(error), batch.orders.len());
    let request = batch.orders.first().map(|placement| tracing::field::display(placement.correlation_id));
    match why {
        NotPlaced::Failed => tracing::error!(error, request.id = request, "an order could not be stored"),
        NotPlaced::Unavailable => tracing::warn!(error, orders, "orders could not be stored in time"),
        NotPlaced::InProgress | NotPlaced::KeyReused => {
            tracing::info!(request.id = request, "another transaction holds the Idempotency-Key");
        }
    }
}

/// Stores the rows of a batch, in the caller's transaction. Locks are always taken in the same order: first the keys,
/// sorted.
async fn store(connection: &mut Connection, batch: &Batch) -> Result<(Vec<Stored>, Vec<Outgoing>), Refused> {
    if batch.briefly {
        idempotency::wait_briefly(connection).await?;
        // With the table's lock held, a lock time-out while claiming can only concern a key.
        idempotency::lock_table(connection).await?;
    }
    let claims: Vec<Claim<'_>> = batch.orders.iter().map(PendingOrder::claim).collect();
    let claimed = idempotency::claim(connection, &claims).await.map_err(|error| {
        if batch.briefly && error.is_lock_timeout() { Refused::KeyHeld(error) } else { Refused::Store(error) }
    })?;
    let (fresh, known): (Vec<&PendingOrder>, Vec<&PendingOrder>) =
        batch.orders.iter().partition(|placement| claimed.contains(&placement.key));
    let rows: Vec<&NewOrder> = fresh.iter().map(|placement| &placement.order).collect();
    orders::insert(connection, &rows).await?;
    let events = fresh.iter().map(|placement| placement.event()).collect::<Result<_, _>>().map_err(StoreError::from)?;
    let outgoing = event_log::append_first(connection, SOURCE, events).await?;
    let known: Vec<&str> = known.iter().map(|placement| placement.key.as_str()).collect();
    let mut stored = idempotency::find(connection, &known).await?;
    stored.extend(fresh.into_iter().map(PendingOrder::stored));
    fault::crash_here(CrashPoint::BeforeCommit);
    Ok((stored, outgoing))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tokio_postgres::error::SqlState;

    use super::*;

    fn batch(size: usize) -> Batch {
        let placement = |key: usize| PendingOrder {
            key: key.to_string(),
            fingerprint: [0; 32],
            correlation_id: Uuid::nil(),
            traceparent: String::new(),
            order: NewOrder {
                id: Uuid::nil(),
                number: OrderNumber::random(),
                total: 0,
                currency: String::new(),
                customer_name: String::new(),
                customer_email: String::new(),
                address_line1: String::new(),
                address_line2: None,
                city: String::new(),
                postal_code: None,
                country: String::new(),
                state: None,
                phone: None,
                payment_method: String::new(),
                created_at: DateTime::UNIX_EPOCH,
                lines: Vec::new(),
            },
            replaces: None,
        };
        Batch { orders: (0..size).map(placement).collect(), redraws: 0, briefly: false }
    }

    fn refused(state: SqlState) -> Refused {
        StoreError::refused(state).into()
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn batch_is_retried_until_its_deadline_while_the_database_is_unavailable() {
        let away = [
            StoreError::TimedOut(TRANSACTION).into(),
            refused(SqlState::DISK_FULL),
            refused(SqlState::READ_ONLY_SQL_TRANSACTION),
            refused(SqlState::T_R_DEADLOCK_DETECTED),
            refused(SqlState::LOCK_NOT_AVAILABLE),
        ];
        for away in away {
            assert!(matches!(after(&away, batch(2), later()), Next::Again(batch) if batch.orders.len() == 2));
            assert!(matches!(after(&away, batch(2), Instant::now()), Next::GiveUp(_, NotPlaced::Unavailable)));
        }
    }

    #[test]
    fn taken_number_is_drawn_again_a_limited_number_of_times() {
        let taken = refused(SqlState::UNIQUE_VIOLATION);
        let mut batch = batch(1);
        for _ in 0..REDRAWS {
            let number = batch.orders[0].order.number.clone();
            let Next::Again(again) = after(&taken, batch, later()) else { panic!("it is retried") };
            assert_ne!(again.orders[0].order.number, number);
            batch = again;
        }
        assert!(matches!(after(&taken, batch, later()), Next::GiveUp(_, NotPlaced::Failed)));
    }

    #[test]
    fn failing_batch_is_halved_until_only_the_bad_order_fails() {
        let bad = refused(SqlState::CHECK_VIOLATION);
        let Next::Split(whole) = after(&bad, batch(3), later()) else { panic!("it is halved") };
        let (one, other) = split::Batch::halves(whole);
        assert_eq!((one.orders.len(), other.orders.len()), (1, 2));
        // One blocked key must not make every part wait as long as the whole batch did.
        assert!(one.briefly && other.briefly);
        assert!(matches!(after(&bad, one, later()), Next::GiveUp(_, NotPlaced::Failed)));
    }

    #[test]
    fn key_held_by_another_transaction_is_in_progress() {
        // At first it is unknown whether the lock was a key's or the table's. The table's blocks every key.
        let unknown = refused(SqlState::LOCK_NOT_AVAILABLE);
        assert!(matches!(after(&unknown, batch(1), later()), Next::Again(batch) if batch.briefly));
        let held = || Refused::KeyHeld(StoreError::refused(SqlState::LOCK_NOT_AVAILABLE));
        assert!(matches!(after(&held(), batch(2), later()), Next::Split(_)));
        assert!(matches!(after(&held(), batch(1), later()), Next::GiveUp(_, NotPlaced::InProgress)));
    }
}
