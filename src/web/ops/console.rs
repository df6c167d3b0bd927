//! The shared state of operators' requests.

use std::{sync::Arc, time::Duration};

use orderflow_service::{
    broker::{BrokerError, Connector, NotReady},
    config::{DatabaseConfig, OperatorToken, OperatorsConfig},
    process_identity,
    store::Database,
};
use secrecy::SecretString;
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard},
};
use tokio_util::sync::CancellationToken;

use super::{ended::Ended, flow::Flow, guesses::Guard, links::Links};
use crate::{
    ops::queues::inspect,
    web::{
        client::Clients,
        problem::{Code, Problem},
    },
};

/// How long one reader of dead letters waits for another. A reader holds messages, so two at a time would each see only
/// a part.
const TURN: Duration = Duration::from_secs(20);

/// The state of the console; one per process. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    /// A pool of its own, so that operators get connections even when customers use all of theirs.
    pub database: Database,
    /// The operators' tokens.
    pub tokens: Arc<[OperatorToken]>,
    /// Identifies clients.
    pub clients: Clients,
    /// Limits the attempts to guess a token.
    pub guard: Guard,
    /// Sessions that were ended in this process.
    pub ended: Ended,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
    /// The secrets of sessions: the first signs, all verify.
    pub secrets: Arc<[SecretString]>,
    /// The figures of the last five minutes, for the overview.
    pub flow: Flow,
    /// Links to other programs' pages.
    pub links: Links,
    broker: Option<Broker>,
    runtime: Handle,
    looking: Arc<Mutex<()>>,
}

/// RabbitMQ as the user of `AMQP_ADMIN_URL`.
#[derive(Clone)]
pub struct Broker {
    /// Over AMQP: messages.
    pub connector: Connector,
    /// Over AMQP and the management API: figures of queues.
    pub queues: inspect::Broker,
}

/// Why the console cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// `DATABASE_URL` cannot be used.
    #[error("DATABASE_URL cannot be used: {0}")]
    Database(#[from] diesel::ConnectionError),
    /// `AMQP_ADMIN_URL` cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The pool of connections to RabbitMQ cannot be created.
    #[error(transparent)]
    Queues(#[from] NotReady),
}

impl Console {
    /// Creates the console without connecting to anything yet.
    ///
    /// Must be called on a multi-threaded runtime. Work that outlives a request runs there: connections belong to that
    /// runtime, so a client that disconnects does not close them.
    ///
    /// # Errors
    /// See [`ConsoleError`].
    pub fn new(
        config: &OperatorsConfig,
        secrets: &[SecretString],
        (database, connections): (&DatabaseConfig, usize),
        clients: Clients,
        stop: CancellationToken,
    ) -> Result<Self, ConsoleError> {
        let program = format!("orderflow console {}", process_identity::place());
        let broker = config.broker.as_ref().map(|(urls, admin)| {
            let connector = Connector::new(urls, "orderflow console");
            let queues = inspect::Broker::new(&connector, admin.clone())?;
            Ok::<_, ConsoleError>(Broker { connector, queues })
        });
        let console = Self {
            database: Database::new(database, &program, connections)?,
            tokens: config.tokens.clone().into(),
            clients,
            guard: Guard::default(),
            ended: Ended::default(),
            stop,
            secrets: secrets.into(),
            flow: Flow::default(),
            links: Links::new(config),
            broker: broker.transpose()?,
            runtime: Handle::current(),
            looking: Arc::default(),
        };
        let (flow, queues) = (console.flow.clone(), console.queues().cloned());
        console.start(flow.run(console.database.clone(), queues, console.stop.clone()));
        Ok(console)
    }

    /// Returns the broker's queues, or `None` if `AMQP_ADMIN_URL` is not set.
    #[must_use]
    pub fn queues(&self) -> Option<&inspect::Broker> {
        self.broker.as_ref().map(|broker| &broker.queues)
    }

    /// Returns the broker.
    ///
    /// # Errors
    /// Fails if `AMQP_ADMIN_URL` is not set.
    pub fn broker(&self) -> Result<Broker, Problem> {
        self.broker.clone().ok_or_else(|| {
            Problem::new(
                Code::SettingMissing,
                "Dead letters are read from RabbitMQ. Set AMQP_ADMIN_URL for the console, or use `orderflow dlq`.",
            )
        })
    }

    /// Runs the work to its end, even if the client disconnects.
    ///
    /// # Errors
    /// Returns the errors of the work, and 500 if it panics.
    pub async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.runtime.spawn(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "an operator's request was not completed");
            Err(Problem::new(Code::Internal, "The cause is logged under this request_id."))
        })
    }

    /// Starts work in the background.
    pub fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    /// Waits for the turn to hold dead letters.
    ///
    /// # Errors
    /// 503 if another reader takes too long.
    pub async fn turn(&self) -> Result<OwnedMutexGuard<()>, Problem> {
        tokio::time::timeout(TURN, Arc::clone(&self.looking).lock_owned()).await.map_err(|_| {
            Problem::new(Code::BrokerUnavailable, "Another request is reading dead letters. Try again soon.")
                .retry_after(TURN.as_secs())
        })
    }
}
