//! What operators' requests work with.

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

/// How long one look at dead letters waits for another: they hold messages, and two at a time would each see a part.
const TURN: Duration = Duration::from_secs(20);

/// What every operator's request can use; one for the process. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    /// Of its own, so that customers who take all their connections do not keep operators out.
    pub database: Database,
    /// Who may.
    pub tokens: Arc<[OperatorToken]>,
    /// Tells clients apart.
    pub clients: Clients,
    /// Who may try a token.
    pub guard: Guard,
    /// Sessions that were ended here.
    pub ended: Ended,
    /// Cancelled when the process stops.
    pub stop: CancellationToken,
    /// Sign sessions: the first signs, all verify.
    pub secrets: Arc<[SecretString]>,
    /// How it went in the last minutes.
    pub flow: Flow,
    /// To other programs' pages.
    pub links: Links,
    broker: Option<Broker>,
    runtime: Handle,
    looking: Arc<Mutex<()>>,
}

/// RabbitMQ as the user of `AMQP_ADMIN_URL`.
#[derive(Clone)]
pub struct Broker {
    /// By AMQP: messages.
    pub connector: Connector,
    /// By both: figures of queues.
    pub queues: inspect::Broker,
}

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// `DATABASE_URL`.
    #[error("DATABASE_URL cannot be used: {0}")]
    Database(#[from] diesel::ConnectionError),
    /// `AMQP_ADMIN_URL`.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The same.
    #[error(transparent)]
    Queues(#[from] NotReady),
}

impl Console {
    /// Connects to nothing yet. What lasts longer than a request runs on the runtime that this is called on, which has to be
    /// a multi-threaded one: connections belong to it, and whoever goes away does not take them along.
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

    /// The broker's queues, where `AMQP_ADMIN_URL` is set.
    #[must_use]
    pub fn queues(&self) -> Option<&inspect::Broker> {
        self.broker.as_ref().map(|broker| &broker.queues)
    }

    /// The broker.
    ///
    /// # Errors
    /// Where `AMQP_ADMIN_URL` is not set.
    pub fn broker(&self) -> Result<Broker, Problem> {
        self.broker.clone().ok_or_else(|| {
            Problem::new(
                Code::SettingMissing,
                "Dead letters are read from RabbitMQ: set AMQP_ADMIN_URL for the console, or use `orderflow dlq`.",
            )
        })
    }

    /// Does something to its end, whether or not the client waits for it.
    ///
    /// # Errors
    /// When it panics.
    pub async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.runtime.spawn(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "what an operator asked for was not done to its end");
            Err(Problem::new(Code::Internal, "The cause is logged under this request_id."))
        })
    }

    /// Starts something that nobody waits for.
    pub fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    /// Waits for the turn to take dead letters in hand.
    ///
    /// # Errors
    /// When another look takes too long.
    pub async fn turn(&self) -> Result<OwnedMutexGuard<()>, Problem> {
        tokio::time::timeout(TURN, Arc::clone(&self.looking).lock_owned()).await.map_err(|_| {
            Problem::new(Code::BrokerUnavailable, "Somebody else is looking at dead letters. Try again soon.")
                .retry_after(TURN.as_secs())
        })
    }
}
