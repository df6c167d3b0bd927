//! Republishes events that a subscription never received, straight to its queue and no other.

use std::collections::{BTreeMap, HashMap};

use futures::future::join_all;

use super::{Message, Publisher};
use crate::store::{Connection, StoreError, event_log, missing::Pair};

/// The outcome of republishing.
#[derive(Debug, Default)]
pub struct Resent {
    /// How many deliveries went to each queue.
    pub by_queue: BTreeMap<String, usize>,
    /// Deliveries that the broker did not confirm. It may still have received them.
    pub failed: Vec<Pair>,
}

/// Publishes each event, rebuilt from the log, to its subscription's queue, and waits for the confirms. All are in
/// flight concurrently, so pass at most a few hundred.
///
/// # Errors
/// Returns database errors; nothing was sent then.
pub async fn resend(connection: &mut Connection, publisher: &Publisher, pairs: &[Pair]) -> Result<Resent, StoreError> {
    let ids: Vec<_> = pairs.iter().map(|pair| pair.event_id).collect();
    let events = event_log::outgoing(connection, &ids).await?;
    let events: HashMap<_, _> = events.iter().map(|event| (event.event_id, event)).collect();
    let confirmed = join_all(pairs.iter().map(async |pair| {
        let Some(Ok(message)) = events.get(&pair.event_id).map(|event| Message::event(event)) else { return false };
        publisher.publish(message.to_queue(&pair.subscription)).await.is_ok()
    }))
    .await;
    let mut resent = Resent::default();
    for (pair, confirmed) in pairs.iter().zip(confirmed) {
        if confirmed {
            *resent.by_queue.entry(pair.subscription.clone()).or_default() += 1;
        } else {
            resent.failed.push(pair.clone());
        }
    }
    Ok(resent)
}
