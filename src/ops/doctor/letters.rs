//! Does the index of dead letters agree with the queues?

use std::collections::{BTreeMap, HashMap};

use orderflow_service::store::failures;

use super::{
    database::Indexed,
    queues::{Queues, SECOND_LOOK},
    report::Checkup,
};
use crate::ops::words::count;
use crate::services::roster;

/// Compares both, where both could be read; where they differ, a second time: the index is written just after a
/// message is safe, or taken out.
pub async fn check(found: &mut Checkup, indexed: Option<&Indexed>, queues: Option<&Queues>) {
    let (Some(Indexed { database, letters: index }), Some(Queues { broker, dead: waiting, .. })) = (indexed, queues)
    else {
        return;
    };
    // The index of a service that runs outside these programs is its own business: in another language it writes none.
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
    // Where the second look fails, so has the first, or something else has just been found: the first one counts.
    for (queue, more) in again.await.unwrap_or(first) {
        if more > 0 {
            found.found(
                "dead letters",
                format!("The index names {} that {queue}.dlq does not hold.", count(more, "dead letter")),
                format!(
                    "somebody moved or purged them in the management UI, or an `orderflow dlq` command holds them just \
                     now. What was moved back goes from the index by itself when it is applied. What was purged nothing \
                     sends by itself, and `orderflow why ORDER` still calls it dead-lettered: once {queue}.dlq is empty, \
                     `orderflow republish --missing --purged --queue {queue}` sends it again"
                ),
            );
        } else {
            found.found(
                "dead letters",
                format!("{queue}.dlq holds {} that the index does not name.", count(-more, "dead letter")),
                "nothing is lost: the queue is the truth, and `orderflow dlq list` reads it. The index misses what died \
                 while the database was away, or by RabbitMQ alone. Until it is dealt with, workers send nothing that is \
                 missing of this queue again by themselves",
            );
        }
    }
}

/// By queue, how many more the index has than the broker.
fn differences(index: &HashMap<String, i64>, waiting: &BTreeMap<String, u32>) -> Vec<(String, i64)> {
    let queues =
        waiting.iter().map(|(queue, ready)| (queue, index.get(queue).copied().unwrap_or(0) - i64::from(*ready)));
    queues.filter(|(_, more)| *more != 0).map(|(queue, more)| (queue.clone(), more)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_with_its_direction() {
        let index = [("a", 2), ("b", 1)].map(|(queue, letters)| (queue.to_owned(), letters)).into();
        let waiting = [("a", 1), ("b", 1), ("c", 3)].map(|(queue, letters)| (queue.to_owned(), letters)).into();
        assert_eq!(differences(&index, &waiting), [("a".to_owned(), 1), ("c".to_owned(), -3)]);
    }
}
