//! Checks that the index of dead letters agrees with the queues.

use std::collections::{BTreeMap, HashMap};

use orderflow_service::store::failures;

use super::{
    database::Indexed,
    queues::{Queues, SECOND_LOOK},
    report::Checkup,
};
use crate::ops::words::count;
use crate::services::roster;

/// Compares index and queues if both could be read. Repeats the comparison if they differ, because the index is written
/// just after a message is safe, or removed.
pub async fn check(found: &mut Checkup, indexed: Option<&Indexed>, queues: Option<&Queues>) {
    let (Some(Indexed { database, dead_letters: index }), Some(Queues { broker, dead: waiting, .. })) =
        (indexed, queues)
    else {
        return;
    };
    // Services that run outside these programs need not write the index.
    let ours = |queue: &String| orderflow_worker::roster().of_queue(queue).is_some();
    let waiting: BTreeMap<String, u32> =
        waiting.iter().filter(|(queue, _)| ours(queue)).map(|(queue, ready)| (queue.clone(), *ready)).collect();
    let first = differences(index, &waiting);
    if first.is_empty() {
        return;
    }
    tokio::time::sleep(SECOND_LOOK).await;
    let again = async {
        let index = failures::waiting(&mut *database.connection().await.ok()?).await.ok()?;
        let mut now_waiting = BTreeMap::new();
        for subscription in roster().subscriptions().iter().filter(|one| waiting.contains_key(&one.queue())) {
            let state = broker.inspect_queue(&subscription.dead_letter_queue()).await.ok()?;
            now_waiting.insert(subscription.queue(), state.ready);
        }
        Some(differences(&index, &now_waiting))
    };
    // If the second comparison fails, something else has gone wrong meanwhile: use the first.
    for (queue, more) in again.await.unwrap_or(first) {
        if more > 0 {
            found.found(
                "dead letters",
                format!("The index names {} that {queue}.dlq does not hold.", count(more, "dead letter")),
                format!(
                    "they were moved or purged in the management UI, or an `orderflow dlq` command holds them now. Messages that \
                     were moved back leave the index once they are applied. Purged messages are not republished automatically, and \
                     `orderflow why ORDER` still calls them dead-lettered: once {queue}.dlq is empty, `orderflow republish \
                     --missing --purged --queue {queue}` republishes them"
                ),
            );
        } else {
            found.found(
                "dead letters",
                format!("{queue}.dlq holds {} that the index does not name.", count(-more, "dead letter")),
                "nothing is lost: the queue is the truth, and `orderflow dlq list` reads it. The index lacks messages that were \
                 dead-lettered while the database was unavailable, or by RabbitMQ alone. Until they are dealt with, workers do \
                 not republish missing deliveries of this queue automatically",
            );
        }
    }
}

/// Returns, by queue, how many more dead letters the index has than the broker.
fn differences(index: &HashMap<String, i64>, waiting: &BTreeMap<String, u32>) -> Vec<(String, i64)> {
    let queues =
        waiting.iter().map(|(queue, ready)| (queue, index.get(queue).copied().unwrap_or(0) - i64::from(*ready)));
    queues.filter(|(_, more)| *more != 0).map(|(queue, more)| (queue.clone(), more)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_a_direction() {
        let index = [("a", 2), ("b", 1)].map(|(queue, dead_letters)| (queue.to_owned(), dead_letters)).into();
        let waiting =
            [("a", 1), ("b", 1), ("c", 3)].map(|(queue, dead_letters)| (queue.to_owned(), dead_letters)).into();
        assert_eq!(differences(&index, &waiting), [("a".to_owned(), 1), ("c".to_owned(), -3)]);
    }
}
