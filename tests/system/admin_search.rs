//! Searches of many orders or discarded messages use an index.

use diesel::{QueryableByName, sql_types::BigInt};
use orderflow::store::{
    discarded,
    search::{self, Search},
    story::{self, Wanted},
};
use orderflow_service::store::Connection;
use orderflow_tests::Shop;
use uuid::Uuid;

/// Opens a shop with this many orders. Every tenth is cancelled, and each has one event. Ids ascend with the numbers.
async fn with_orders(count: usize) -> Shop {
    let shop = Shop::open_without_queues().await;
    shop.execute(&format!(
        "INSERT INTO orders.orders (id, number, status, version, total, currency, customer_name, customer_email,
             address_line1, city, postal_code, country, payment_method, created_at, updated_at)
         SELECT format('00000000-0000-7000-8000-%s', lpad(number::text, 12, '0'))::uuid, lpad(number::text, 10, '0'),
             CASE number % 10 WHEN 0 THEN 'cancelled' ELSE 'shipped' END, 1, 0, 'EUR', 'Ada', number || '@example.org',
             '', '', '', 'AT', '', now(), now()
         FROM generate_series(1, {count}) AS number"
    ))
    .await;
    shop.execute(
        "INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, data)
         SELECT id, 1, gen_random_uuid(), 'order.created', 'test', now(), id, '{}' FROM orders.orders",
    )
    .await;
    shop
}

fn id(number: usize) -> Uuid {
    format!("00000000-0000-7000-8000-{number:012}").parse().expect("an id")
}

fn search(wanted: Option<Wanted>) -> Search {
    Search { wanted, status: None, before: None, limit: 50, span: 1_000 }
}

/// Returns how many rows of orders, events and discarded messages have been read so far.
async fn rows_read(connection: &mut Connection) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    execute("SELECT pg_stat_force_next_flush()", connection).await;
    let rows = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS rows FROM pg_stat_user_tables
                WHERE relname IN ('orders', 'event_log', 'discarded')";
    let row: Row = diesel_async::RunQueryDsl::get_result(diesel::sql_query(rows), connection).await.expect("a number");
    row.rows
}

/// Returns the id of an order's only event.
async fn event(connection: &mut Connection, order: Uuid) -> Uuid {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        event_id: Uuid,
    }
    let event = diesel::sql_query(format!("SELECT event_id FROM messaging.event_log WHERE order_id = '{order}'"));
    let row: Row = diesel_async::RunQueryDsl::get_result(event, connection).await.expect("it has one");
    row.event_id
}

async fn execute(sql: &str, connection: &mut Connection) {
    diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), connection).await.expect("it can be done");
}

#[tokio::test(flavor = "multi_thread")]
async fn named_order_is_found_by_an_index() {
    let shop = with_orders(5_000).await;
    shop.execute("ANALYZE").await;
    let mut connection = shop.database().await;
    let event = event(&mut connection, id(7)).await;
    let before = rows_read(&mut connection).await;
    for name in [Wanted::Id(id(7)), Wanted::Id(event), wanted("0000000007"), wanted("7@Example.org")] {
        let found = search::orders(&mut connection, &search(Some(name.clone()))).await.expect("it is found");
        let ids: Vec<_> = found.orders.iter().map(|order| order.order_id).collect();
        assert_eq!((ids, found.next), (vec![id(7)], None));
        let told = story::find(&mut connection, &name, 5).await.expect("it is found");
        assert_eq!(told.iter().map(|order| order.order_id).collect::<Vec<_>>(), [id(7)]);
    }
    let read = rows_read(&mut connection).await - before;
    assert!((8..100).contains(&read), "{read} rows were read");
    let newest = search::orders(&mut connection, &search(None)).await.expect("they are found");
    assert_eq!((newest.orders.len(), newest.next), (50, Some(id(4_951))));
}

fn wanted(text: &str) -> Wanted {
    match text.parse() {
        Ok(number) => Wanted::Number(number),
        Err(_) => Wanted::Email(text.to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn search_by_status_resumes_without_gaps_or_repeats() {
    let shop = with_orders(42).await;
    let mut connection = shop.database().await;
    // For any span and limit: a part may begin or end with a matching order.
    for (span, limit) in [(1, 50), (3, 50), (10, 50), (10, 1), (25, 1), (25, 2), (41, 50), (42, 50), (43, 50)] {
        let (mut found, mut parts, mut short) = (Vec::new(), 0, 0);
        let status = Some("cancelled".to_owned());
        let mut asked = Search { status, limit, span, ..search(None) };
        loop {
            let part = search::orders(&mut connection, &asked).await.expect("it is answered");
            parts += 1;
            assert!(part.orders.len() <= 50 && parts < 100);
            short += usize::from(part.orders.is_empty() && part.next.is_some());
            found.extend(part.orders.iter().map(|order| order.order_id));
            match part.next {
                Some(next) => asked.before = Some(next),
                None => break,
            }
        }
        assert_eq!(found, [40, 30, 20, 10].map(id), "{limit} out of {span}");
        assert_eq!(short > 0, span <= 3, "{span}");
        assert!(parts >= 42_u32.div_ceil(span), "{parts} parts of {span}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_discarded_messages_are_deleted_by_an_index() {
    let shop = Shop::open_without_queues().await;
    // Two are older than 90 days, and they do not have the lowest ids.
    shop.execute(
        "INSERT INTO operations.discarded (request_id, discarded_at, letter)
         SELECT gen_random_uuid(), now() - CASE WHEN number IN (4000, 4001) THEN interval '91 days' ELSE '89 days' END, '{}'
         FROM generate_series(1, 5000) AS number",
    )
    .await;
    shop.execute("ANALYZE").await;
    let mut connection = shop.database().await;
    let before = rows_read(&mut connection).await;
    for forgotten in [1, 1, 0] {
        assert_eq!(discarded::forget_old(&mut connection, 1).await.expect("it can be done"), forgotten);
    }
    let read = rows_read(&mut connection).await - before;
    assert!((2..100).contains(&read), "{read} rows were read");
    assert_eq!(shop.number("SELECT count(*) FROM operations.discarded").await, 4_998);
}
