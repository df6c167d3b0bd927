//! The current rates of orders placed and settled, and how long an order takes. Read-only.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Double, Nullable, Text},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::EventKind;
use orderflow_order::domain::OrderStatus;
use orderflow_service::store::{Connection, StoreError};

/// The seconds that [`QUERY`] covers.
const WINDOW: u32 = 5;

/// Orders per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OrderRates {
    /// Orders stored.
    pub accepted: f64,
    /// Orders shipped, failed or cancelled, counted by the event; the customer's status follows it.
    pub settled: f64,
}

/// Event ids are UUIDv7 and begin with the milliseconds since 1970, so the newest events are at the end of their index.
/// The index on the time would be slower: it is a BRIN, and everything since the last vacuum would be read.
/// `ORDER BY` makes PostgreSQL read the index from its end, however many rows the planner expects: 17 ms with 1,300
/// events per second among 2 million. The limit covers five seconds of several thousand orders per second.
const QUERY: &str = "
SELECT count(*) FILTER (WHERE event = $1) AS accepted, count(*) FILTER (WHERE event = ANY($2)) AS settled
FROM (
    SELECT event FROM messaging.event_log
    WHERE event_id >= (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 5000), 12, '0') || repeat('0', 20))::uuid
    ORDER BY event_id DESC LIMIT 100000
) AS newest";

/// Returns the orders placed and settled per second over the last five seconds, by the database's clock.
///
/// # Errors
/// Returns database errors.
pub async fn rates(connection: &mut Connection) -> Result<OrderRates, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        accepted: i64,
        #[diesel(sql_type = BigInt)]
        settled: i64,
    }
    let settling: Vec<&str> = OrderStatus::settled_by().into_iter().map(EventKind::routing_key).collect();
    let row: Row = diesel::sql_query(QUERY)
        .bind::<Text, _>(EventKind::OrderCreated.routing_key())
        .bind::<Array<Text>, _>(settling)
        .get_result(connection)
        .await?;
    let a_second = |number: i64| f64::from(u32::try_from(number).unwrap_or_default()) / f64::from(WINDOW);
    Ok(OrderRates { accepted: a_second(row.accepted), settled: a_second(row.settled) })
}

/// How many of the newest events [`USUAL`] reads: about a thousand orders.
const NEWEST: i64 = 5_000;

/// The newest events are at the end of the index on their ids, see [`QUERY`]. An order's first event is found by key.
const USUAL: &str = "
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM shipped.occurred_at - placed.occurred_at))::float8 AS seconds
FROM (
    SELECT order_id, event, occurred_at FROM messaging.event_log ORDER BY event_id DESC LIMIT $2
) AS shipped
JOIN messaging.event_log AS placed ON placed.order_id = shipped.order_id AND placed.version = 1
WHERE shipped.event = $1";

/// Returns the median time from placing an order to its shipment, in seconds, over the newest shipped orders. Returns
/// `None` if there are none.
///
/// # Errors
/// Returns database errors.
pub async fn usual_seconds(connection: &mut Connection) -> Result<Option<f64>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Double>)]
        seconds: Option<f64>,
    }
    let row: Row = diesel::sql_query(USUAL)
        .bind::<Text, _>(EventKind::ShipmentCreated.routing_key())
        .bind::<BigInt, _>(NEWEST)
        .get_result(connection)
        .await?;
    Ok(row.seconds)
}
