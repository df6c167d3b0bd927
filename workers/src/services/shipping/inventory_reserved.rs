//! `inventory.reserved` → hand the parcel to the carrier → `shipment.created` or `shipment.failed`

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use orderflow_events::{Envelope, InventoryReserved, NewEvent, ShipmentCreated, ShipmentFailed};
use orderflow_service::{
    Failure,
    call_guard::{CallGuard, Guarded},
    handler::{Done, Handler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::store::{self, Booking, Consignment};
use crate::providers::carrier::{Carrier, Parcel, ShipOutcome};

/// Ships orders whose items are set aside.
pub struct ShipOrder {
    carrier: Guarded<dyn Carrier>,
}

impl ShipOrder {
    /// Returns a handler that ships with this carrier.
    #[must_use]
    pub fn new(carrier: Guarded<dyn Carrier>) -> Self {
        Self { carrier }
    }
}

/// What to do for an order whose items are set aside.
pub enum Task {
    /// Nothing: the order was cancelled before, or an earlier delivery of the event decided it.
    Decided,
    /// Hand the order over to the carrier.
    Ship(Box<Consignment>),
}

impl Handler for ShipOrder {
    type Event = InventoryReserved;
    type Input = Task;
    type Effect = Option<ShipOutcome>;

    fn guard(&self) -> Option<&Arc<CallGuard>> {
        Some(&self.carrier.guard)
    }

    async fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Envelope<InventoryReserved>>],
    ) -> Result<Vec<Result<Task, Failure>>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|event| event.order_id).collect();
        let mut consignments: HashMap<Uuid, Consignment> = store::consignments(connection, &orders).await?;
        let known: Vec<Uuid> = orders.iter().copied().filter(|order| consignments.contains_key(order)).collect();
        let bookings = store::book(connection, &known).await?;
        let mut task = |order: &Uuid| match (bookings.get(order), consignments.remove(order)) {
            (Some(Booking::Ours), Some(consignment)) => Ok(Task::Ship(Box::new(consignment))),
            (Some(_), _) => Ok(Task::Decided),
            (None, _) => Err(Failure::no_such_order()),
        };
        Ok(orders.iter().map(&mut task).collect())
    }

    async fn act(&self, event: &Envelope<InventoryReserved>, task: Task) -> Result<Option<ShipOutcome>, Failure> {
        let Task::Ship(consignment) = task else { return Ok(None) };
        let Consignment { address, contents } = *consignment;
        // An order has one parcel, so the key is derived from the order's id, like the payment's.
        let idempotency_key = format!("parcel-{}", event.order_id);
        let parcel = Parcel { idempotency_key, reference: event.order_id, address, contents };
        self.carrier.guard.call(self.carrier.ship(parcel)).await.map(Some)
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<InventoryReserved, Option<ShipOutcome>>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        // One per order, sorted by order id: rows are locked in that order everywhere.
        let mut first = BTreeMap::new();
        for done in batch {
            if let Some(outcome) = &done.effect {
                first.entry(done.event.order_id).or_insert((done, outcome));
            }
        }
        let outcomes: Vec<_> = first.iter().map(|(order, (_, outcome))| (*order, *outcome)).collect();
        let decided = store::decide(connection, &outcomes).await?;
        // An order that was already decided gets no second event.
        let fresh = first.iter().filter(|(order, _)| decided.contains(order));
        fresh.map(|(_, (done, outcome))| what_follows(&done.event, outcome)).collect()
    }
}

fn what_follows(event: &Envelope<InventoryReserved>, outcome: &ShipOutcome) -> Result<NewEvent, StoreError> {
    Ok(match outcome.clone() {
        ShipOutcome::Accepted { tracking_number } => NewEvent::caused_by(event, &ShipmentCreated { tracking_number })?,
        ShipOutcome::Refused { reason } => NewEvent::caused_by(event, &ShipmentFailed { reason })?,
    })
}
