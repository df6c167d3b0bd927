//! Announces to other processes which orders have just moved, through PostgreSQL's NOTIFY.
//!
//! An announcement is only a hint. It follows the commit and may be lost, for example with the announcing process, so
//! listeners must also poll. It is never sent in a business transaction, since commits with a NOTIFY wait for one
//! another.

use std::time::{Duration, Instant};

use diesel::{
    result::{DatabaseErrorKind, Error as DieselError},
    sql_types::{Array, Text},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::{
    store::{Connection, Database, Prepare as _, StoreError},
    telemetry,
};
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::timeout,
};
use uuid::Uuid;

/// The channel's name in the database.
const CHANNEL: &str = "orders_moved";

/// PostgreSQL accepts payloads of less than 8,000 bytes: 240 ids of 32 digits, each followed by a comma.
const IDS_IN_A_MESSAGE: usize = 240;

/// The most batches that may wait to be announced. Further batches are dropped: the database is overloaded then.
const WAITING: usize = 1_024;

/// The most batches in one announcement.
const AT_ONCE: usize = 64;

/// The time limit of an announcement, including the wait for a connection.
const SAY_WITHIN: Duration = Duration::from_secs(2);

/// The pause between two NOTIFYs of a process. It limits them to 50 per second, however many batches are recorded.
const GATHER: Duration = Duration::from_millis(20);

/// How often a listener probes its connection, since a silent connection may be dead.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// The time limit of a probe, and of opening a listener.
const LISTEN_WITHIN: Duration = Duration::from_secs(5);

/// Does not wait for the commit to reach the disk, since a server crash loses only a hint.
const NOTIFY: &str = "
SELECT pg_notify($1, payload)::text
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS hint, unnest($2::text[]) AS payload";

/// Announces which orders have moved, without delaying its callers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ChangeNotifier(mpsc::Sender<Vec<Uuid>>);

impl ChangeNotifier {
    /// Starts the announcing task on the current runtime. It ends when the last clone is dropped.
    #[must_use]
    pub fn start(database: Database) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(speak(database, receiver));
        Self(sender)
    }

    /// Announces that these orders have moved and that the change is committed. Never waits.
    pub fn moved(&self, orders: Vec<Uuid>) {
        if self.0.try_send(orders).is_err() {
            tracing::debug!("too many changes wait to be announced, or the announcing task has ended");
        }
    }
}

async fn speak(database: Database, mut moves: mpsc::Receiver<Vec<Uuid>>) {
    while let Some(first) = moves.recv().await {
        let orders = gather(first, &mut moves);
        let saying = async |connection: &mut Connection| notify(connection, &orders).await;
        if let Err(error) = database.run(SAY_WITHIN, saying).await {
            tracing::debug!(error = telemetry::chain(&error), "a change could not be announced");
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Returns the orders of `orders` and of further waiting batches, each order once.
fn gather(mut orders: Vec<Uuid>, moves: &mut mpsc::Receiver<Vec<Uuid>>) -> Vec<Uuid> {
    for _ in 1..AT_ONCE {
        match moves.try_recv() {
            Ok(more) => orders.extend(more),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    orders.sort_unstable();
    orders.dedup();
    orders
}

async fn notify(connection: &mut Connection, orders: &[Uuid]) -> Result<(), StoreError> {
    diesel::sql_query(NOTIFY)
        .bind::<Text, _>(CHANNEL)
        .bind::<Array<Text>, _>(payloads(orders))
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}

fn payloads(orders: &[Uuid]) -> Vec<String> {
    let payload = |ids: &[Uuid]| ids.iter().map(|id| id.simple().to_string()).collect::<Vec<_>>().join(",");
    orders.chunks(IDS_IN_A_MESSAGE).map(payload).collect()
}

fn closed() -> StoreError {
    let why = Box::new("connection closed".to_owned());
    DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, why).into()
}

/// Returns the ids in a payload. It ignores parts that are not UUIDs; another version may send them. Listeners find
/// such an order by polling.
fn ids(payload: &str) -> impl Iterator<Item = Uuid> {
    payload.split(',').filter_map(|text| Uuid::try_parse(text).ok())
}

/// Receives the announcements on its own connection.
pub struct Listener(Connection);

impl Listener {
    /// Starts listening. Every announcement from now on is received.
    ///
    /// # Errors
    /// Returns database errors, and [`StoreError::TimedOut`] after five seconds.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let opening = async {
            let mut connection = database.own_connection().await?;
            diesel::sql_query(format!("LISTEN {CHANNEL}")).execute(&mut connection).await?;
            Ok(Self(connection))
        };
        timeout(LISTEN_WITHIN, opening).await.map_err(|_| StoreError::TimedOut(LISTEN_WITHIN))?
    }

    /// Passes the received ids to `heard` until the connection fails, and returns the error. A silently dead connection
    /// is detected within 20 s.
    pub async fn listen(mut self, heard: impl Fn(&mut dyn Iterator<Item = Uuid>)) -> StoreError {
        loop {
            let asked = Instant::now();
            while let Some(left) = ASK_EVERY.checked_sub(asked.elapsed()) {
                match timeout(left, self.0.notification()).await {
                    Ok(Some(note)) => heard(&mut ids(note.payload())),
                    Ok(None) => return closed(),
                    Err(_) => break,
                }
            }
            let asking = diesel::sql_query("SELECT 1").execute(&mut self.0);
            match timeout(LISTEN_WITHIN, asking).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return StoreError::TimedOut(LISTEN_WITHIN),
            }
        }
    }
}
