//! The pool discards unusable connections: those with an open transaction, and those that still owe an answer.

use std::time::Duration;

use diesel_async::AsyncConnection as _;
use orderflow_service::{
    config::DatabaseConfig,
    store::{Connection, Database, StoreError, inbox},
};
use orderflow_tests::{Proxy, Shop};
use uuid::Uuid;

/// How a task abandons its transaction.
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
            Left::Panicked => panic!("as the test demands"),
            Left::Cancelled => std::future::pending().await,
        }
    });
    drop(tokio::time::timeout(Duration::from_secs(1), claiming).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_left_open_by_a_panic_or_a_time_out_holds_no_lock() {
    let shop = Shop::open_without_queues().await;
    let config = DatabaseConfig::at(shop.database_url().to_string());
    let database = Database::new(&config, "test", 8).expect("a pool");
    for left in [Left::Panicked, Left::Cancelled] {
        let event = Uuid::now_v7();
        drop(tokio::spawn(claims_and_never_commits(database.clone(), event, left)).await);
        // The next attempt uses another connection, which must not wait for the first transaction.
        let mut connection = shop.database().await;
        let events = [event];
        let claiming = inbox::claim(&mut connection, "payment.order-created", &events);
        let claimed = tokio::time::timeout(Duration::from_secs(10), claiming).await;
        let claimed = claimed.unwrap_or_else(|_| panic!("{left:?}: the first transaction still holds the event"));
        assert!(claimed.expect("the event can be claimed").contains(&event), "{left:?}");
    }
}

/// Something between us and the database silently drops the connection: the socket stays open, and only a time-out on
/// our side detects it.
#[tokio::test(flavor = "multi_thread")]
async fn query_without_an_answer_times_out_and_the_next_one_is_answered() {
    let shop = Shop::open_without_queues().await;
    let wire = Proxy::to(&shop.database_url()).await;
    let config = DatabaseConfig::at(wire.through(&shop.database_url()).to_string());
    let database = Database::new(&config, "test", 1).expect("a pool");
    let asking = async |connection: &mut Connection| inbox::applied(connection, "payment.order-created", &[]).await;
    let ask = async |bound| {
        tokio::time::timeout(Duration::from_secs(30), database.run(bound, asking)).await.expect("it has a bound")
    };
    let long = Duration::from_secs(20);
    assert!(ask(long).await.expect("it is answered").is_empty());
    wire.half_open();
    let bound = Duration::from_millis(500);
    let late = ask(bound).await;
    assert!(matches!(late, Err(StoreError::TimedOut(limit)) if limit == bound), "{late:?}");
    assert!(ask(long).await.expect("a new connection answers").is_empty());
    // The same for statements that the pool does not bound itself.
    wire.half_open();
    let mut connection = database.connection().await.expect("the same connection");
    let abandoned = tokio::time::timeout(bound, connection.outside_transaction(asking)).await;
    assert!(abandoned.is_err(), "{abandoned:?}");
    drop(connection);
    assert!(ask(long).await.expect("a new connection answers").is_empty());
}
