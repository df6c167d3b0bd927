//! The upper bound for our throughput: RabbitMQ and its client alone, with the queues and messages of a real shop, but
//! without a database and without handlers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures::{StreamExt as _, future::try_join_all};
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use orderflow_service::{broker::Message, store::event_log};
use orderflow_tests::{Shop, VISA};
use orderflow_worker::roster;
use tokio::{sync::mpsc, task::JoinSet};
use uuid::Uuid;

use crate::figures::per_second;

/// The queues whose handlers publish an order's next event if it ships, and the type of that event.
const NEXT: [(&str, &str); 3] = [
    ("payment.order-created", "payment.completed"),
    ("inventory.payment-completed", "inventory.reserved"),
    ("shipping.inventory-reserved", "shipment.created"),
];

/// The worker's default for `PREFETCH`.
const PREFETCH: u16 = 512;

/// The worker's default for `BATCH_SIZE`.
const BATCH: usize = 256;

/// The messages of one order that ships, by event type.
#[derive(Debug, Clone)]
pub struct Messages(BTreeMap<String, Message>);

impl Messages {
    /// Places an order in a real shop, waits until it has shipped, and returns its messages.
    pub async fn of_an_order() -> Self {
        let mut shop = Shop::open().await;
        let web = shop.start_web().await;
        shop.start_worker(&[]).await;
        let order = web.order("MUG-BLUE", 1, VISA).await;
        web.until_status(&order, "shipped").await;
        let logged = shop.text("SELECT string_agg(event_id::text, ',') FROM messaging.event_log").await;
        let events: Vec<Uuid> = logged.split(',').filter_map(|id| id.parse().ok()).collect();
        let outgoing = event_log::outgoing(&mut shop.database().await, &events).await.expect("the log can be read");
        shop.close().await;
        let message = |event| Message::event(&event).expect("it was published before");
        Self(outgoing.into_iter().map(|event| (event.event.clone(), message(event))).collect())
    }

    fn of_kind(&self, kind: &str) -> &Message {
        self.0.get(kind).unwrap_or_else(|| panic!("no {kind} was logged"))
    }
}

/// Returns the orders per second from a full first queue until every queue is empty. Every message is confirmed and
/// acknowledged.
///
/// # Panics
/// Panics if the broker fails.
pub async fn drain(messages: &Messages, orders: usize) -> f64 {
    let shop = Shop::open().await;
    let url = shop.servers.broker(None, shop.name());
    let publishing = connect(url.as_str()).await;
    publish_all(&publishing, messages.of_kind("order.created"), orders).await;

    let consuming = connect(url.as_str()).await;
    let queues: Vec<String> = roster()
        .subscriptions()
        .iter()
        .filter(|one| roster().events_of(**one).iter().any(|event| messages.0.contains_key(event.as_str())))
        .map(|one| one.queue())
        .collect();
    let handled = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for queue in &queues {
        let next = NEXT.iter().find(|(name, _)| name == queue).map(|(_, kind)| messages.of_kind(kind).clone());
        let consumer = consume(&consuming, queue).await;
        let publisher = match next {
            Some(message) => Some(Publisher::start(&publishing, message, &mut tasks).await),
            None => None,
        };
        tasks.spawn(handle(consumer, publisher, orders, Arc::clone(&handled)));
    }
    tasks.join_all().await;
    assert_eq!(handled.load(Ordering::Relaxed), orders * queues.len());
    let rate = per_second(orders, begin);
    drop((publishing, consuming));
    rate
}

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.expect("the broker can be reached")
}

async fn confirming(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.expect("a channel can be opened");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms can be had");
    channel
}

async fn publish_all(connection: &Connection, message: &Message, count: usize) {
    let channel = confirming(connection).await;
    let mut left = count;
    while left > 0 {
        let together = left.min(BATCH);
        publish(&channel, message, together).await;
        left -= together;
    }
}

/// Publishes copies of a message and waits until all are confirmed.
async fn publish(channel: &Channel, message: &Message, count: usize) {
    let one = || {
        let (exchange, key) = (message.exchange.as_str().into(), message.routing_key.as_str().into());
        channel.basic_publish(exchange, key, BasicPublishOptions::default(), &message.body, message.properties.clone())
    };
    let sent = try_join_all((0..count).map(|_| one())).await.expect("they can be sent");
    for confirmed in try_join_all(sent).await.expect("they are answered") {
        assert!(confirmed.is_ack(), "the broker refused a message");
    }
}

async fn consume(connection: &Connection, queue: &str) -> Consumer {
    let channel = connection.create_channel().await.expect("a channel can be opened");
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.expect("a prefetch can be set");
    let consuming =
        channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    consuming.await.expect("the queue can be consumed")
}

/// Publishes copies of one message. Each number sent over the channel requests this many copies.
struct Publisher(mpsc::Sender<usize>);

impl Publisher {
    async fn start(connection: &Connection, message: Message, tasks: &mut JoinSet<()>) -> Self {
        let channel = confirming(connection).await;
        let (sender, mut wanted) = mpsc::channel(64);
        tasks.spawn(async move {
            while let Some(count) = wanted.recv().await {
                publish(&channel, &message, count).await;
            }
        });
        Self(sender)
    }
}

/// Consumes one delivery per order. For each group of deliveries that is ready, it requests an equal number of messages
/// from `publisher` and acknowledges the whole group with one frame.
async fn handle(consumer: Consumer, publisher: Option<Publisher>, orders: usize, handled: Arc<AtomicUsize>) {
    let (mut runs, mut left) = (consumer.ready_chunks(BATCH), orders);
    while left > 0 {
        let run = runs.next().await.expect("the consumer still delivers");
        left -= run.len();
        handled.fetch_add(run.len(), Ordering::Relaxed);
        if let Some(Publisher(wanted)) = &publisher {
            wanted.send(run.len()).await.expect("the publisher still runs");
        }
        let last = run.into_iter().next_back().expect("a run is not empty").expect("a delivery");
        last.acker.ack(BasicAckOptions { multiple: true }).await.expect("it can be acknowledged");
    }
}
