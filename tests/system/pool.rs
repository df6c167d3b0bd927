//! A connection whose transaction nobody ended is not kept, and so neither are its locks.

use std::time::Duration;

use diesel_async::AsyncConnection as _;
use orderflow::{
    config::DatabaseConfig,
    store::{Database, StoreError, inbox},
};
use orderflow_tests::Shop;
use uuid::Uuid;

/// How a transaction is left.
#[derive(Debug, Clone, Copy)]
enum Left {
    Panicked,
    Cancelled,
}

async fn claims_and_never_commits(database: Database, event: Uuid, left: Left) {
    let mut connection = database.connection().await.expect("a connection");
    let claiming = connection.transaction::<(), StoreError, _>(async |connection| {
        inbox::claim(connection, "payment.order-created", &[event]).await?;
        match left {
            Left::Panicked => panic!("what the test asks for"),
            Left::Cancelled => std::future::pending().await,
        }
    });
    drop(tokio::time::timeout(Duration::from_secs(1), claiming).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_panic_or_a_time_out_left_open_holds_no_lock() {
    let shop = Shop::open().await;
    let config = DatabaseConfig { url: shop.database_url().to_string().into() };
    let database = Database::new(&config, "test", 8).expect("a pool");
    for left in [Left::Panicked, Left::Cancelled] {
        let event = Uuid::now_v7();
        drop(tokio::spawn(claims_and_never_commits(database.clone(), event, left)).await);
        // Another connection, as the next attempt has it. It waits for the first no longer than for its end.
        let mut connection = shop.database().await;
        let events = [event];
        let claiming = inbox::claim(&mut connection, "payment.order-created", &events);
        let claimed = tokio::time::timeout(Duration::from_secs(10), claiming).await;
        let claimed = claimed.unwrap_or_else(|_| panic!("{left:?}: the first transaction still holds the event"));
        assert!(claimed.expect("the event can be claimed").contains(&event), "{left:?}");
    }
}
