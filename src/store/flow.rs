//! How many orders come in and settle just now, and how long one takes. Reads only.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Double, Nullable, Text},
};
use diesel_async::RunQueryDsl as _;
use orderflow_events::EventKind;
use orderflow_order::domain::OrderStatus;
use orderflow_service::store::{Connection, StoreError};

/// The seconds that [`QUERY`] looks at.
const WINDOW: u32 = 5;

/// Orders a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OrderRates {
    /// Stored.
    pub accepted: f64,
    /// Shipped, failed or cancelled: an event said so that the customer's status follows.
    pub settled: f64,
}

/// Event ids are UUIDv7, which begin with the milliseconds since 1970, so the newest events are at the end of the index on
/// them; that of their time is a BRIN, of which everything since the last vacuum is read. For the order's sake the index
/// is read from its end, however many rows the planner expects: 1,300 events a second among 2 million took 17 ms. The limit
/// is what five seconds of some thousand orders a second have.
const QUERY: &str = "
SELECT count(*) FILTER (WHERE event = $1) AS accepted, count(*) FILTER (WHERE event = ANY($2)) AS settled
FROM (
    SELECT event FROM messaging.event_log
    WHERE event_id >= (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 5000), 12, '0') || repeat('0', 20))::uuid
    ORDER BY event_id DESC LIMIT 100000
) AS newest";

/// How many orders a second came in and settled during the last five seconds, by the database's clock.
///
/// # Errors
/// Those of the database.
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

/// The newest events that [`USUAL`] looks at: some thousand orders.
const NEWEST: i64 = 5_000;

/// The newest are found at the end of the index on the events' ids, see [`QUERY`]; each order's first event by its key.
const USUAL: &str = "
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM shipped.occurred_at - placed.occurred_at))::float8 AS seconds
FROM (
    SELECT order_id, event, occurred_at FROM messaging.event_log ORDER BY event_id DESC LIMIT $2
) AS shipped
JOIN messaging.event_log AS placed ON placed.order_id = shipped.order_id AND placed.version = 1
WHERE shipped.event = $1";

/// What an order usually takes until it is with the carrier, in seconds: the median of those that came there last; none
/// where there are none.
///
/// # Errors
/// Those of the database.
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
