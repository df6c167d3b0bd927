//! Everything that is read about one order, part by part.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use orderflow_events::timestamp;
use orderflow_order::store::orders;
use orderflow_service::{
    Subscription,
    store::{Connection, StoreError},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    ops::lack::explained,
    store::story::{
        self, Applied, Attempt, DeadLetter, Event, Mail, Movement, Payment, Reading, Reservation, Shipment, Waiting,
    },
    way::Queue,
};

/// The order's own row, without the customer's data: operators read these elsewhere.
#[derive(Debug, Clone, Serialize)]
pub struct Order {
    /// Its id.
    pub order_id: Uuid,
    /// The number that customers quote on the phone.
    pub number: String,
    /// Its status.
    pub status: String,
    /// The version of the last event folded into the status.
    pub version: i32,
    /// Whether the customer requested a cancel that is not decided yet.
    pub cancel_requested: bool,
    /// Minor units.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// What was ordered.
    pub items: Vec<Item>,
    /// When it was placed.
    #[serde(with = "timestamp")]
    pub created_at: DateTime<Utc>,
    /// When its status last changed.
    #[serde(with = "timestamp")]
    pub updated_at: DateTime<Utc>,
}

/// One line of the order.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// The product.
    pub sku: String,
    /// Pieces.
    pub quantity: i32,
    /// The price of one piece, in minor units.
    pub price: i64,
}

/// What the inventory service did.
#[derive(Debug, Clone, Serialize)]
pub struct Stock {
    /// Its decision; `null` while undecided.
    pub reservation: Option<Reservation>,
    /// The stock movements.
    pub movements: Vec<Movement>,
}

/// All parts in one snapshot; `None` is a part that could not be read.
#[derive(Debug)]
pub struct Facts {
    /// The time of the snapshot, by the database's clock.
    pub moment: DateTime<Utc>,
    /// The outer `None`: not read. The inner: no such row.
    pub order: Option<Option<Order>>,
    /// The event log.
    pub events: Option<Vec<Event>>,
    /// The inbox.
    pub applied: Option<Vec<Applied>>,
    /// Failed attempts.
    pub attempts: Option<Vec<Attempt>>,
    /// Events in the outbox.
    pub outbox: Option<Vec<Waiting>>,
    /// Messages that were dead-lettered and not applied since.
    pub dead_letters: Option<Vec<DeadLetter>>,
    /// Payments.
    pub payments: Option<Vec<Payment>>,
    /// The reserved stock.
    pub stock: Option<Stock>,
    /// Shipments.
    pub shipments: Option<Vec<Shipment>>,
    /// Mails to the customer.
    pub mails: Option<Vec<Mail>>,
    /// The state of each queue; `None` if RabbitMQ was not queried or did not answer. It is not part of the story, so
    /// it does not count as unavailable.
    pub queues: Option<HashMap<Subscription, Queue>>,
    /// The parts that could not be read, by their names in the report, and why.
    pub unreadable: Vec<(&'static str, String)>,
}

impl Facts {
    /// Returns empty facts, before anything was read.
    #[must_use]
    pub fn none(moment: DateTime<Utc>) -> Self {
        Self {
            moment,
            order: None,
            events: None,
            applied: None,
            attempts: None,
            outbox: None,
            dead_letters: None,
            payments: None,
            stock: None,
            shipments: None,
            mails: None,
            queues: None,
            unreadable: Vec::new(),
        }
    }

    /// Reads every part separately, in the caller's transaction: a part that fails does not hide the others.
    pub async fn read(connection: &mut Connection, order: Uuid, moment: DateTime<Utc>) -> Self {
        let mut facts = Self::none(moment);
        facts.order = facts.part(connection, "order", |c| read_order(c, order).boxed()).await;
        facts.events = facts.part(connection, "events", |c| story::events(c, order).boxed()).await;
        facts.applied = facts.part(connection, "missing_deliveries", |c| story::applied(c, order).boxed()).await;
        facts.attempts = facts.part(connection, "attempts", |c| story::attempts(c, order).boxed()).await;
        facts.outbox = facts.part(connection, "outbox", |c| story::outbox(c, order).boxed()).await;
        facts.dead_letters = facts.part(connection, "dead_letters", |c| story::dead_letters(c, order).boxed()).await;
        facts.payments = facts.part(connection, "payments", |c| story::payments(c, order).boxed()).await;
        facts.stock = facts.part(connection, "stock", |c| read_stock(c, order).boxed()).await;
        facts.shipments = facts.part(connection, "shipments", |c| story::shipments(c, order).boxed()).await;
        facts.mails = facts.part(connection, "mails", |c| story::mails(c, order).boxed()).await;
        facts
    }

    async fn part<T: Send>(
        &mut self,
        connection: &mut Connection,
        name: &'static str,
        read: impl for<'c> FnOnce(&'c mut Connection) -> Reading<'c, T> + Send,
    ) -> Option<T> {
        match story::part(connection, read).await {
            Ok(part) => Some(part),
            Err(error) => {
                self.unreadable.push((name, explained(&error)));
                None
            }
        }
    }

    /// Returns whether this queue has a consumer, if known.
    #[must_use]
    pub fn is_worked(&self, subscription: Subscription) -> Option<bool> {
        Some(self.queues.as_ref()?.get(&subscription)?.is_worked)
    }

    /// Returns the order's number, if it was read.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.order.as_ref()?.as_ref().map(|order| order.number.as_str())
    }
}

async fn read_order(connection: &mut Connection, id: Uuid) -> Result<Option<Order>, StoreError> {
    let Some(row) = orders::find(connection, id).await? else { return Ok(None) };
    let lines = orders::lines(connection, id).await?;
    let item = |line: orders::Line| Item { sku: line.sku, quantity: line.quantity, price: line.price };
    Ok(Some(Order {
        order_id: row.id,
        number: row.number,
        status: row.status,
        version: row.version,
        cancel_requested: row.cancel_requested,
        total: row.total,
        currency: row.currency,
        items: lines.into_iter().map(item).collect(),
        created_at: row.created_at,
        updated_at: row.updated_at,
    }))
}

async fn read_stock(connection: &mut Connection, order: Uuid) -> Result<Stock, StoreError> {
    Ok(Stock {
        reservation: story::reservation(connection, order).await?,
        movements: story::movements(connection, order).await?,
    })
}
