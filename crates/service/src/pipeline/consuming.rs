//! A queue's consumer: a channel on the shared connection, or on a connection of its own.
//!
//! A quorum queue whose log RabbitMQ cannot read, for example after its disk was full, answers `basic.consume` by
//! closing the whole connection with 541. Seen on 3.10.8 with `corrupt_log`, and reported for 3.12 to 4.1:
//! <https://github.com/rabbitmq/rabbitmq-server/issues/10650>,
//! <https://github.com/rabbitmq/rabbitmq-server/issues/11561>.

use std::{sync::Arc, time::Duration};

use lapin::{
    Channel, Connection, Consumer, ErrorKind,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};

use crate::{
    Subscription,
    broker::{BrokerError, SharedConnection},
    pipeline::{acting::Mode, worker_context::WorkerContext},
    process_identity,
};

/// How long starting to consume may take.
const CONSUME_TIMEOUT: Duration = Duration::from_secs(10);

/// AMQP 0-9-1's reply code for a fault in the server.
const INTERNAL_ERROR: u16 = 541;

/// How long closing a channel may take. Until then RabbitMQ counts its deliveries as being worked on.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A queue that is consumed.
pub struct Consuming {
    /// The subscription that the queue belongs to.
    pub subscription: Subscription,
    shared: SharedConnection,
    is_own: bool,
    connection: Arc<Connection>,
    channel: Channel,
    consumer: Consumer,
}

impl Consuming {
    /// Begins to consume. A queue that is `apart` or worked [`Mode::Alone`] gets its own connection: a queue or message
    /// that breaks its connection must not break any other queue's.
    ///
    /// # Errors
    /// Fails if the broker refuses, or does not answer in time.
    pub async fn open(
        process: &WorkerContext,
        subscription: Subscription,
        mode: Mode,
        apart: bool,
    ) -> Result<Self, BrokerError> {
        let (queue, is_own) = (subscription.queue(), apart || mode == Mode::Alone);
        let shared = match is_own {
            true => SharedConnection::unlogged(process.connector.clone(), &queue),
            false => process.connection.clone(),
        };
        let (connection, channel) = shared.channel().await?;
        let prefetch = match mode {
            Mode::Working => process.config.prefetch,
            Mode::Alone | Mode::HalfOpen => 1,
        };
        let beginning = async {
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let tag = format!("{queue} {}", process_identity::place());
            let options = BasicConsumeOptions::default();
            channel.basic_consume(queue.as_str().into(), tag.into(), options, FieldTable::default()).await
        };
        match tokio::time::timeout(CONSUME_TIMEOUT, beginning).await {
            Ok(consumer) => {
                let consumer = consumer?;
                Ok(Self { subscription, shared, is_own, connection, channel, consumer })
            }
            Err(_) => {
                shared.abandon(&connection).await;
                Err(BrokerError::TimedOut(CONSUME_TIMEOUT))
            }
        }
    }

    /// Returns the stream of deliveries.
    #[must_use]
    pub fn deliveries(&self) -> Consumer {
        self.consumer.clone()
    }

    /// Stops further deliveries; those already under way still arrive.
    pub async fn cancel(&self) {
        // An error means that there is nothing left to cancel.
        drop(self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default()).await);
    }

    /// Returns all unsettled deliveries to the broker. If the channel cannot be closed, closes the whole connection:
    /// the messages would otherwise stay invisible until RabbitMQ's own time-out of 30 minutes.
    pub async fn close(self) {
        let closing = self.channel.close(200, "done".into());
        let closed = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
        if closed.is_err() || self.is_own {
            self.shared.abandon(&self.connection).await;
        }
    }
}

/// Returns whether the broker failed internally and closed the connection for all its channels: 541, `INTERNAL_ERROR`.
pub fn closed_all(error: &BrokerError) -> bool {
    match error {
        BrokerError::Shared(error) => closed_all(error),
        BrokerError::Client(error) => {
            matches!(error.kind(), ErrorKind::ProtocolError(amqp) if amqp.get_id() == INTERNAL_ERROR)
        }
        _ => false,
    }
}

/// Returns what to do about an error, where we know.
pub fn hint(error: &BrokerError) -> &'static str {
    if error.is_out_of_channels() {
        return "raise RabbitMQ's channel_max, or give the worker fewer queues with --queue; until then this queue uses its own connection";
    }
    match error {
        BrokerError::Shared(error) => hint(error),
        BrokerError::Client(error) => match error.kind() {
            ErrorKind::ProtocolError(amqp) if amqp.get_id() == 404 => {
                "run `orderflow topology apply`; a service outside the shop's programs must be registered first"
            }
            ErrorKind::ProtocolError(amqp) if amqp.get_id() == INTERNAL_ERROR => {
                "RabbitMQ's log says what is wrong with the queue; see docs/RUNBOOK.md, \"RabbitMQ cannot read a queue\""
            }
            ErrorKind::ProtocolError(amqp) if amqp.get_id() == 403 => {
                "check the user and password in AMQP_URL, and whether that user may read this queue"
            }
            _ => "is RabbitMQ running, and is AMQP_URL right?",
        },
        BrokerError::NoVhost(_) => "run `orderflow topology apply`",
        BrokerError::Full(_) => "raise RabbitMQ's max-connections, or run fewer processes",
        BrokerError::Tls { .. } => "check RabbitMQ's certificate and TLS_CA",
        _ => "is RabbitMQ running, and is AMQP_URL right?",
    }
}
