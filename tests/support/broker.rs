use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use orderflow_events::CONTENT_TYPE;
use orderflow_service::{Subscription, broker::names};
use tokio::sync::OnceCell;
use url::Url;

use crate::until;

/// An administrator's connection to one virtual host.
pub struct Probe {
    connection: Connection,
    /// For inspections: opening a channel costs the broker more than one.
    inspecting: OnceCell<Channel>,
}

impl Probe {
    /// Connects as an administrator to the virtual host in this URL.
    ///
    /// # Panics
    /// Panics if the broker refuses the connection.
    pub async fn connect(url: &Url) -> Self {
        let properties = ConnectionProperties::default().with_connection_name("test probe".into());
        let connection = Connection::connect(url.as_str(), properties).await.expect("the broker can be reached");
        Self { connection, inspecting: OnceCell::new() }
    }

    async fn channel(&self) -> Channel {
        self.connection.create_channel().await.expect("a channel can be opened")
    }

    /// Returns the number of ready messages in a queue; unacknowledged ones do not count.
    ///
    /// # Panics
    /// Panics if there is no such queue.
    pub async fn waiting(&self, queue: &str) -> u32 {
        self.inspect(queue).await.message_count()
    }

    /// Waits until exactly this many messages are ready in a queue.
    pub async fn until_waiting(&self, queue: &str, wanted: u32) {
        until(&format!("{wanted} messages wait in {queue}"), async || {
            let count = self.waiting(queue).await;
            if count == wanted { Ok(()) } else { Err(count) }
        })
        .await;
    }

    /// Like [`Probe::until_waiting`], in the dead-letter queue of this subscription.
    pub async fn until_dead(&self, subscription: Subscription, wanted: u32) {
        self.until_waiting(&subscription.dead_letter_queue(), wanted).await;
    }

    /// Returns the number of a queue's consumers.
    ///
    /// # Panics
    /// Panics if there is no such queue.
    pub async fn consumers(&self, queue: &str) -> u32 {
        self.inspect(queue).await.consumer_count()
    }

    async fn inspect(&self, queue: &str) -> lapin::Queue {
        let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        let channel = self.inspecting.get_or_init(|| self.channel()).await;
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        declared.unwrap_or_else(|error| panic!("there is no queue {queue}: {error}"))
    }

    /// Publishes a body with an event's properties, and waits for the confirm.
    ///
    /// # Panics
    /// Panics if the broker does not confirm it.
    pub async fn publish(&self, exchange: &str, routing_key: &str, body: &[u8]) {
        let properties = BasicProperties::default().with_content_type(CONTENT_TYPE.into()).with_delivery_mode(2);
        self.publish_with(exchange, routing_key, body, properties).await;
    }

    /// Like [`Probe::publish`], but with these properties.
    ///
    /// # Panics
    /// Panics if the broker does not confirm it.
    pub async fn publish_with(&self, exchange: &str, routing_key: &str, body: &[u8], properties: BasicProperties) {
        let channel = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms are available");
        let confirm = channel
            .basic_publish(exchange.into(), routing_key.into(), BasicPublishOptions::default(), body, properties)
            .await
            .expect("it can be published")
            .await
            .expect("it is answered");
        assert!(confirm.is_ack(), "the broker refused a message");
    }

    /// Creates a queue that receives a copy of every event from now on, and returns its name.
    ///
    /// # Panics
    /// Panics if it cannot be created.
    pub async fn tap(&self) -> String {
        let (name, channel) = ("test.tap", self.channel().await);
        let declare = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), declare, FieldTable::default()).await.expect("a queue can be created");
        let bind = QueueBindOptions::default();
        let bound =
            channel.queue_bind(name.into(), names::EVENTS.into(), "#".into(), bind, FieldTable::default()).await;
        bound.expect("it can be bound");
        name.to_owned()
    }

    /// Removes all messages from a queue and returns them.
    ///
    /// # Panics
    /// Panics if the queue cannot be read.
    pub async fn take_all(&self, queue: &str) -> Vec<lapin::message::Delivery> {
        let channel = self.channel().await;
        let options = BasicGetOptions { no_ack: true };
        let mut all = Vec::new();
        while let Some(message) = channel.basic_get(queue.into(), options).await.expect("the queue can be read") {
            all.push(message.delivery);
        }
        all
    }

    /// Removes the first message from a queue and returns it.
    ///
    /// # Panics
    /// Panics if the queue is empty.
    pub async fn take(&self, queue: &str) -> lapin::message::Delivery {
        let options = BasicGetOptions { no_ack: true };
        let message = self.channel().await.basic_get(queue.into(), options).await.expect("the queue can be read");
        message.unwrap_or_else(|| panic!("{queue} is empty")).delivery
    }

    /// Gets and requeues all messages of a queue, as an operator does in the management UI; returns their number.
    ///
    /// # Panics
    /// Panics if the queue cannot be read.
    pub async fn look(&self, queue: &str) -> usize {
        let channel = self.channel().await;
        let options = BasicGetOptions { no_ack: false };
        let mut seen = 0;
        while let Some(message) = channel.basic_get(queue.into(), options).await.expect("the queue can be read") {
            seen += 1;
            let (last, requeue) = (message.delivery.delivery_tag, message.message_count == 0);
            if requeue {
                let all = BasicNackOptions { multiple: true, requeue: true };
                channel.basic_nack(last, all).await.expect("they can be requeued");
                break;
            }
        }
        // The broker answers this after it has requeued them.
        channel.close(200, "done".into()).await.expect("the channel can be closed");
        seen
    }

    /// Deletes a queue with all its messages.
    ///
    /// # Panics
    /// Panics if it cannot be deleted.
    pub async fn delete_queue(&self, queue: &str) {
        let deleted = self.channel().await.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        deleted.unwrap_or_else(|error| panic!("{queue} cannot be deleted: {error}"));
    }
}
