//! `shipment.created` → book the order's points → `loyalty.points-booked`

use std::sync::Arc;

use orderflow_service::{
    events::{NewEvent, ShipmentCreated},
    handler::{Done, TransactionalHandler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use crate::{points_booked::PointsBooked, store};

/// Books the points of shipped orders.
#[derive(Debug)]
pub struct BookPoints;

impl TransactionalHandler for BookPoints {
    type Event = ShipmentCreated;

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<ShipmentCreated, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|done| done.event.order_id).collect();
        let mut follow = Vec::new();
        for booked in store::book(connection, &orders).await? {
            let causes = batch.iter().filter(|done| done.event.order_id == booked.order_id).take(1);
            for done in causes {
                follow.push(NewEvent::caused_by(&done.event, &PointsBooked { points: booked.points })?);
            }
        }
        Ok(follow)
    }
}
