//! `inventory.reserved` → hand the parcel to the carrier → `shipment.created` or `shipment.failed`

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use orderflow::{
    broker::Subscription,
    events::{Envelope, InventoryReserved, NewEvent, ShipmentCreated, ShipmentFailed},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::store::{self, Consignment};
use crate::{
    handler::{Done, Failure, Handler},
    providers::{
        Line, Reached,
        carrier::{Carrier, Parcel, ShipOutcome},
    },
};

/// Ships orders whose items are set aside.
pub struct ShipOrder {
    carrier: Reached<dyn Carrier>,
}

impl ShipOrder {
    /// Ships by this carrier.
    #[must_use]
    pub fn new(carrier: Reached<dyn Carrier>) -> Self {
        Self { carrier }
    }
}

impl Handler for ShipOrder {
    const SUBSCRIPTION: Subscription = Subscription::ShippingInventoryReserved;
    type Event = InventoryReserved;
    type Input = Consignment;
    type Effect = ShipOutcome;

    fn line(&self) -> Option<&Arc<Line>> {
        Some(&self.carrier.line)
    }

    async fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Envelope<InventoryReserved>],
    ) -> Result<Vec<Result<Consignment, Failure>>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|event| event.order_id).collect();
        let consignments: HashMap<Uuid, Consignment> = store::consignments(connection, &orders).await?;
        let of = |event: &Envelope<InventoryReserved>| consignments.get(&event.order_id).cloned();
        Ok(batch.iter().map(|event| of(event).ok_or_else(|| Failure::reject("there is no such order"))).collect())
    }

    async fn act(
        &self,
        event: &Envelope<InventoryReserved>,
        Consignment { address, contents }: Consignment,
    ) -> Result<ShipOutcome, Failure> {
        let idempotency_key = event.id.to_string();
        let parcel = Parcel { idempotency_key, reference: event.order_id, address, contents };
        self.carrier.line.call(self.carrier.ship(parcel)).await
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Done<InventoryReserved, ShipOutcome>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        // One an order, in the order of their ids, which is how rows are locked everywhere.
        let mut first = BTreeMap::new();
        for done in batch {
            first.entry(done.event.order_id).or_insert(done);
        }
        let outcomes: Vec<_> = first.iter().map(|(order, done)| (*order, &done.effect)).collect();
        let decided = store::decide(connection, &outcomes).await?;
        // The first to decide has the last word: an order that is decided already gets no second event.
        first.values().filter(|done| decided.contains(&done.event.order_id)).map(|done| what_follows(done)).collect()
    }
}

fn what_follows(done: &Done<InventoryReserved, ShipOutcome>) -> Result<NewEvent, StoreError> {
    Ok(match done.effect.clone() {
        ShipOutcome::Accepted { tracking_number } => {
            NewEvent::caused_by(&done.event, &ShipmentCreated { tracking_number })?
        }
        ShipOutcome::Refused { reason } => NewEvent::caused_by(&done.event, &ShipmentFailed { reason })?,
    })
}
