//! A later build of the same code, with one more service and one more event type.

use std::sync::Arc;

use orderflow_events::{EventData, EventName, NewEvent, ShipmentCreated};
use orderflow_service::{
    Roster, Service,
    handler::{Done, TransactionalHandler},
    store::{Connection, StoreError},
};
use orderflow_worker::services;
use serde::{Deserialize, Serialize};

/// The event type that only this build knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct GiftPromised {}

impl EventData for GiftPromised {
    const EVENT: EventName = EventName::new("gifts.gift-promised");
}

/// Promises a gift with each order that ships.
struct PromiseGift;

impl TransactionalHandler for PromiseGift {
    type Event = ShipmentCreated;

    async fn record(
        &self,
        _: &mut Connection,
        batch: &[Arc<Done<ShipmentCreated, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        batch.iter().map(|done| Ok(NewEvent::caused_by(&done.event, &GiftPromised {})?)).collect()
    }
}

/// Returns the services of the later build.
#[must_use]
pub fn roster() -> Roster {
    let gifts = Service::side("gifts", "Promises a gift with each order that ships.")
        .publishes(&[GiftPromised::EVENT])
        .needs::<()>()
        .on("promise", |()| PromiseGift);
    Roster::new(services::all().into_iter().chain([gifts.done()]).collect())
}
