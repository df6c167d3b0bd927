//! Which orders have just moved, said from process to process by PostgreSQL's NOTIFY.
//!
//! It is a hint: what is said after a commit may be lost, with the process that was to say it for example. Whoever listens
//! also looks by itself now and then. Never said in a business transaction, since commits with a NOTIFY wait for one another.

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

/// PostgreSQL takes payloads of less than 8,000 bytes: 240 ids of 32 digits with a comma behind each.
const IDS_IN_A_MESSAGE: usize = 240;

/// Batches that wait to be said. A batch beyond is not said: then the database is what has to catch up.
const WAITING: usize = 1_024;

/// At most so many batches are said at once.
const AT_ONCE: usize = 64;

/// How long saying may take, together with the wait for a connection.
const SAY_WITHIN: Duration = Duration::from_secs(2);

/// The wait between two NOTIFY of a process: so they are at most 50 a second, however many batches are recorded.
const GATHER: Duration = Duration::from_millis(20);

/// A listener asks its connection this often whether it still lives, since one that nothing comes from may be dead.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// How long that may take, and to begin to listen.
const LISTEN_WITHIN: Duration = Duration::from_secs(5);

/// The commit that carries the message is not waited for: what is lost with the server is a hint.
const NOTIFY: &str = "
SELECT pg_notify($1, payload)::text
FROM (SELECT set_config('synchronous_commit', 'off', true)) AS hint, unnest($2::text[]) AS payload";

/// Says which orders have moved, without keeping whoever moved them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ChangeNotifier(mpsc::Sender<Vec<Uuid>>);

impl ChangeNotifier {
    /// Starts the task that speaks, on the current runtime; it ends with the last clone.
    #[must_use]
    pub fn start(database: Database) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(speak(database, receiver));
        Self(sender)
    }

    /// These orders have moved, and it is committed. Never waits.
    pub fn moved(&self, orders: Vec<Uuid>) {
        if self.0.try_send(orders).is_err() {
            tracing::debug!("too many moves wait to be announced, or nobody announces any more");
        }
    }
}

async fn speak(database: Database, mut moves: mpsc::Receiver<Vec<Uuid>>) {
    while let Some(first) = moves.recv().await {
        let orders = gather(first, &mut moves);
        let saying = async |connection: &mut Connection| notify(connection, &orders).await;
        if let Err(error) = database.run(SAY_WITHIN, saying).await {
            tracing::debug!(error = telemetry::chain(&error), "a move is not announced");
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// All that waits, each order once.
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

/// What is no id is of a program that speaks otherwise: whoever listens finds the order by itself.
fn ids(payload: &str) -> impl Iterator<Item = Uuid> {
    payload.split(',').filter_map(|text| Uuid::try_parse(text).ok())
}

/// Hears which orders have moved, on a connection of its own.
pub struct Listener(Connection);

impl Listener {
    /// Begins to listen: what is said from now on is heard.
    ///
    /// # Errors
    /// Those of the database; [`StoreError::TimedOut`] after five seconds.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let opening = async {
            let mut connection = database.own_connection().await?;
            diesel::sql_query(format!("LISTEN {CHANNEL}")).execute(&mut connection).await?;
            Ok(Self(connection))
        };
        timeout(LISTEN_WITHIN, opening).await.map_err(|_| StoreError::TimedOut(LISTEN_WITHIN))?
    }

    /// Hands what it hears to `heard`, until the connection breaks. One that is silently dead is noticed after 20 s.
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
