//! Sample orders for this command's tests, with each part as the services leave it.

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_service::Subscription;
use serde_json::{Value, json};
use uuid::Uuid;

use super::facts::{Facts, Item, Order, Stock};
use crate::{
    services::roster,
    store::story::{Applied, Attempt, DeadLetter, Event, Mail, Movement, Payment, Reservation, Shipment, Waiting},
    way::Queue,
};

/// Returns the current time in every sample.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_795_399_924_123).expect("a time")
}

/// Returns the time this many seconds earlier.
fn ago(seconds: i64) -> DateTime<Utc> {
    now() - TimeDelta::seconds(seconds)
}

fn queue(is_worked: bool) -> Queue {
    Queue { ready: 0, is_worked, capacity: None, processing: None }
}

/// An order under construction.
pub struct Sample(Facts);

impl Sample {
    /// Two mugs, placed 80 seconds ago; no subscription has applied anything yet.
    pub fn placed() -> Self {
        let mut facts = Facts::none(now());
        facts.order = Some(Some(Order {
            order_id: Uuid::from_u128(1),
            number: "4Z8K2M9Q10".to_owned(),
            status: "pending".to_owned(),
            version: 1,
            cancel_requested: false,
            total: 2998,
            currency: "EUR".to_owned(),
            items: vec![Item { sku: "MUG-BLUE".to_owned(), quantity: 2, price: 1499 }],
            created_at: ago(80),
            updated_at: ago(80),
        }));
        facts.events = Some(Vec::new());
        facts.applied = Some(Vec::new());
        facts.attempts = Some(Vec::new());
        facts.outbox = Some(Vec::new());
        facts.dead_letters = Some(Vec::new());
        facts.payments = Some(Vec::new());
        facts.stock = Some(Stock { reservation: None, movements: Vec::new() });
        facts.shipments = Some(Vec::new());
        facts.mails = Some(Vec::new());
        facts.queues = Some(roster().subscriptions().iter().map(|one| (*one, queue(true))).collect());
        Self(facts).said("order.created", "web", 80, json!({}))
    }

    /// Adds an event as the next version, this many seconds ago.
    pub fn said(mut self, event: &str, by: &str, seconds: i64, data: Value) -> Self {
        let events = self.0.events.get_or_insert_default();
        let version = events.last().map_or(1, |last| last.version + 1);
        let id = |version: i32| Uuid::from_u128(0x100 + u128::try_from(version).expect("positive"));
        events.push(Event {
            version,
            event: event.to_owned(),
            event_id: id(version),
            occurred_at: ago(seconds),
            gap_ms: events.last().map(|last| (ago(seconds) - last.occurred_at).num_milliseconds()),
            source: format!("/orderflow/{by}"),
            causation_id: (version > 1).then(|| id(version - 1)),
            correlation_id: Uuid::from_u128(2),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            data,
            archived: false,
        });
        self
    }

    /// Removes the consumers of these queues.
    pub fn stopped(mut self, queues: &[&str]) -> Self {
        for name in queues {
            let subscription = roster().of_queue(name).expect("a queue");
            self.0.queues.get_or_insert_default().insert(subscription, queue(false));
        }
        self
    }

    /// Makes the state of the queues unknown.
    pub fn without_broker(mut self) -> Self {
        self.0.queues = None;
        self
    }

    fn event_of(&self, queue: &str) -> (Uuid, String) {
        let name = queue.split('.').nth(1).expect("a queue").replacen('-', ".", 1);
        let events = self.0.events.as_ref().expect("there");
        let event = events.iter().find(|event| event.event == name).expect("an event");
        (event.event_id, name)
    }

    /// Marks the events of these subscriptions as applied.
    pub fn applied(mut self, queues: &[&str]) -> Self {
        for queue in queues {
            let (event_id, _) = self.event_of(queue);
            self.0.applied.get_or_insert_default().push(Applied { event_id, subscription: (*queue).to_owned() });
        }
        self
    }

    /// Marks all events so far as applied by every subscription except those of these services.
    pub fn applied_by_all_but(self, services: &[&str]) -> Self {
        let events: Vec<String> = self.0.events.iter().flatten().map(|event| event.event.clone()).collect();
        let said = |one: &Subscription| events.iter().any(|event| roster().takers(event).contains(one));
        let done = roster().subscriptions().iter().filter(|one| said(one) && !services.contains(&one.service()));
        let queues: Vec<String> = done.map(|one| one.queue()).collect();
        self.applied(&queues.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Adds an attempt that failed this many seconds ago; the next one, if any, was due `due` seconds ago.
    pub fn failed(mut self, queue: &str, attempt: i32, seconds: i64, due: Option<i64>) -> Self {
        let (event_id, event) = self.event_of(queue);
        self.0.attempts.get_or_insert_default().push(Attempt {
            event_id,
            event,
            subscription: queue.to_owned(),
            attempt,
            reason: "the provider did not answer".to_owned(),
            worker: "orderflow-worker @host 1".to_owned(),
            failed_at: ago(seconds),
            retry_at: due.map(ago),
        });
        self
    }

    /// Adds a message that was dead-lettered this many seconds ago.
    pub fn died(mut self, queue: &str, seconds: i64) -> Self {
        let (event_id, event) = self.event_of(queue);
        self.0.dead_letters.get_or_insert_default().push(DeadLetter {
            event_id,
            event,
            subscription: queue.to_owned(),
            attempt: 1,
            reason: "the provider did not answer".to_owned(),
            worker: "orderflow-worker @host 1".to_owned(),
            died_at: ago(seconds),
            left_at: None,
            left_by: None,
        });
        self
    }

    /// Takes the last dead letter out of its queue this many seconds ago.
    pub fn left(mut self, by: &str, seconds: i64) -> Self {
        let letter =
            self.0.dead_letters.as_mut().and_then(|dead_letters| dead_letters.last_mut()).expect("a dead letter");
        (letter.left_at, letter.left_by) = (Some(ago(seconds)), Some(by.to_owned()));
        self
    }

    /// Puts the last event into the outbox, this many seconds ago.
    pub fn in_outbox(mut self, seconds: i64) -> Self {
        let last = self.0.events.as_ref().and_then(|events| events.last()).expect("an event");
        let (event_id, event) = (last.event_id, last.event.clone());
        let waiting =
            Waiting { event_id, event, created_at: ago(seconds), available_at: ago(seconds - 10), attempts: 1 };
        self.0.outbox.get_or_insert_default().push(waiting);
        self
    }

    /// Sets the order's status and version.
    pub fn is(mut self, status: &str, version: i32) -> Self {
        let order = self.0.order.as_mut().and_then(Option::as_mut).expect("there");
        (order.status, order.version) = (status.to_owned(), version);
        self
    }

    /// Returns the facts.
    pub fn facts(self) -> Facts {
        self.0
    }
}

/// Returns a shipped order.
pub fn shipped() -> Sample {
    let mut sample = Sample::placed()
        .said("payment.completed", "payment", 79, json!({ "amount": 2998 }))
        .said("inventory.reserved", "inventory", 78, json!({}))
        .said("shipment.created", "shipping", 77, json!({}))
        .applied_by_all_but(&[])
        .is("shipped", 4);
    let facts = &mut sample.0;
    facts.payments = Some(vec![payment()]);
    facts.stock = Some(Stock {
        reservation: Some(Reservation { outcome: "reserved".to_owned(), decided_at: ago(78), released_at: None }),
        movements: vec![movement("reserved", -2)],
    });
    facts.shipments = Some(vec![Shipment {
        status: "created".to_owned(),
        tracking_number: Some("SIM1".to_owned()),
        reason: None,
        created_at: ago(77),
    }]);
    facts.mails = Some(["received", "shipped"].map(|kind| mail(kind, Some(ago(76)))).into());
    sample
}

/// Returns a charge of the sample's total.
pub fn payment() -> Payment {
    Payment {
        payment_id: "pay_1".to_owned(),
        status: "succeeded".to_owned(),
        amount: 2998,
        currency: "EUR".to_owned(),
        charge_id: Some("ch_1".to_owned()),
        refund_id: None,
        reason: None,
        created_at: ago(79),
        reversed_at: None,
    }
}

/// Returns a movement of the mugs' stock.
pub fn movement(kind: &str, quantity: i64) -> Movement {
    Movement { sku: "MUG-BLUE".to_owned(), kind: kind.to_owned(), quantity, occurred_at: ago(78) }
}

/// Returns a mail.
pub fn mail(kind: &str, sent_at: Option<DateTime<Utc>>) -> Mail {
    let message_id = format!("{kind}@example.org");
    Mail { kind: kind.to_owned(), message_id, created_at: ago(77), sent_at, held_back_at: None }
}
