//! Several workers share the messages of a queue.

use orderflow_tests::{Child, Shop, VISA, memory, until};

const ORDERS: usize = 2_000;

/// Returns the number of payments that a worker has recorded, from its log.
fn recorded(worker: &Child) -> usize {
    worker.log().iter().filter(|line| line.contains("an event is applied")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_workers_does_at_least_a_quarter_of_a_queue() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&["payment.*"]).await;
    shop.start_worker(&["payment.*"]).await;
    web.orders(ORDERS, "MUG-BLUE", VISA).await;
    until("all payments are recorded", async || {
        let done = shop.number("SELECT count(*) FROM payment.payments").await;
        let logged = shop.workers().iter().map(recorded).sum::<usize>();
        if done == 2_000 && logged == ORDERS { Ok(()) } else { Err((done, logged)) }
    })
    .await;
    let shares: Vec<usize> = shop.workers().iter().map(recorded).collect();
    assert!(shares.iter().all(|share| *share >= ORDERS / 4), "shares: {shares:?}");
    // Another worker handles everything else.
    shop.start_worker(&[]).await;
    shop.close().await;
}

/// Measures anonymous memory only, because a test build has many pages of code. With frames of RabbitMQ's default
/// size, an idle worker used 215 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn worker_with_every_queue_uses_little_memory() {
    let mut shop = Shop::open().await;
    shop.start_worker(&[]).await;
    let taken = memory(shop.workers()[0].id(), "RssAnon").expect("it runs");
    assert!(taken < 100 * 1024, "{taken} KiB");
    shop.close().await;
}
