//! Is the broker there, and is it set up? For health checks and for a worker's start.

use std::time::Duration;

use deadpool_lapin::{Config, Pool, PoolConfig, Timeouts};
use lapin::{
    ErrorKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};

use super::{Connector, names};
use crate::telemetry;

const TIMEOUT: Duration = Duration::from_secs(3);

/// AMQP's reply code for what does not exist.
const NOT_FOUND: u16 = 404;

/// Why the broker cannot be worked with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Not reached, or no answer in time.
    #[error("RabbitMQ cannot be reached: {0}")]
    Unreachable(String),
    /// Reached, but something does not exist there.
    #[error("{0} does not exist in RabbitMQ: run `orderflow topology apply`")]
    Missing(String),
}

/// What was in a queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Messages that wait; those that a consumer holds are not among them.
    pub ready: u32,
    /// Who consumes it.
    pub consumers: u32,
}

/// Short-lived questions to the broker, over pooled connections of their own: neither the publisher's nor a consumer's
/// connection is disturbed by them. Cheap to clone.
#[derive(Clone)]
pub struct BrokerCheck(Pool);

impl std::fmt::Debug for BrokerCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerCheck").finish_non_exhaustive()
    }
}

impl BrokerCheck {
    /// Connects only when asked something.
    ///
    /// # Errors
    /// When the pool cannot be made.
    pub fn new(connector: &Connector) -> Result<Self, NotReady> {
        let config = Config {
            // Of several nodes the first is asked: this is a check, not the way of the messages.
            url: connector.uris().first().map(ToString::to_string),
            pool: Some(PoolConfig {
                timeouts: Timeouts { wait: Some(TIMEOUT), create: Some(TIMEOUT), recycle: Some(TIMEOUT) },
                ..PoolConfig::new(1)
            }),
        };
        let name = connector.name("checks");
        config
            .create_pool(
                move || lapin::ConnectionProperties::default().with_connection_name(name.clone().into()),
                deadpool_lapin::Runtime::Tokio1,
            )
            .map(Self)
            .map_err(|error| NotReady::Unreachable(error.to_string()))
    }

    /// The broker answers and has the exchange that events are published to.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn exchange_exists(&self) -> Result<(), NotReady> {
        let options = ExchangeDeclareOptions { passive: true, durable: true, ..ExchangeDeclareOptions::default() };
        self.ask(names::EVENTS, async |channel| {
            channel
                .exchange_declare(names::EVENTS.into(), lapin::ExchangeKind::Topic, options, FieldTable::default())
                .await
        })
        .await
    }

    /// The broker answers and has this queue.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn queue_exists(&self, queue: &str) -> Result<(), NotReady> {
        self.look(queue).await.map(drop)
    }

    /// How many messages of this queue wait for a consumer; those that a consumer has in hand are not among them.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn ready_messages(&self, queue: &str) -> Result<u32, NotReady> {
        Ok(self.look(queue).await?.ready)
    }

    /// What is in this queue at this moment. The management API's figures are up to five seconds old.
    ///
    /// # Errors
    /// See [`NotReady`].
    pub async fn look(&self, queue: &str) -> Result<Look, NotReady> {
        let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        self.ask(queue, async |channel| {
            let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
            Ok(Look { ready: queue.message_count(), consumers: queue.consumer_count() })
        })
        .await
    }

    async fn ask<T>(
        &self,
        name: &str,
        question: impl AsyncFnOnce(&lapin::Channel) -> lapin::Result<T>,
    ) -> Result<T, NotReady> {
        let unreachable = |error: &dyn std::error::Error| NotReady::Unreachable(telemetry::chain(error));
        let connection = self.0.get().await.map_err(|error| unreachable(&error))?;
        let asking = async {
            // A channel of its own: the broker closes the channel of a question that it answers with no.
            let channel = connection.create_channel().await?;
            let answer = question(&channel).await?;
            channel.close(200, "done".into()).await?;
            Ok::<T, lapin::Error>(answer)
        };
        match tokio::time::timeout(TIMEOUT, asking).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => match error.kind() {
                ErrorKind::ProtocolError(amqp) if amqp.get_id() == NOT_FOUND => Err(NotReady::Missing(name.to_owned())),
                _ => Err(unreachable(&error)),
            },
            Err(_) => Err(NotReady::Unreachable(format!("no answer within {TIMEOUT:?}"))),
        }
    }
}
