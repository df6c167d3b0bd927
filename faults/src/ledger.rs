//! What database and broker hold, read by connections of the checker's own.

use std::collections::HashMap;

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use orderflow::broker::{Subscription, names};
use orderflow_tests::Shop;
use uuid::Uuid;

/// A look into a shop.
pub struct Ledger<'s> {
    shop: &'s Shop,
    connection: AsyncPgConnection,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    name: String,
}

impl<'s> Ledger<'s> {
    /// Opens it; the servers have to work.
    pub async fn open(shop: &'s Shop) -> Self {
        Self { shop, connection: shop.database().await }
    }

    /// The number that a query gives.
    pub async fn count(&mut self, query: &str) -> i64 {
        let sql = format!("SELECT ({query})::bigint AS number");
        let row: Number = diesel::sql_query(&sql)
            .get_result(&mut self.connection)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        row.number
    }

    async fn named(&mut self, query: &str) -> Vec<(Uuid, String)> {
        let rows: Vec<Named> = diesel::sql_query(query)
            .load(&mut self.connection)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        rows.into_iter().map(|row| (row.id, row.name)).collect()
    }

    /// How many events are to be published, and how many to be applied.
    pub async fn unfinished(&mut self) -> (i64, i64) {
        let waiting = self.count("SELECT count(*) FROM messaging.outbox").await;
        (waiting, self.count(&Shop::not_applied("")).await)
    }

    /// The orders that a dead letter holds up, at most a hundred.
    pub async fn parked(&mut self) -> Vec<String> {
        let orders = "SELECT DISTINCT order_id AS id, order_id::text AS name
                      FROM messaging.dead_letters JOIN messaging.event_log USING (event_id)
                      WHERE left_at IS NULL LIMIT 100";
        let orders = orders.replace("order_id", "event_log.order_id");
        self.named(&orders).await.into_iter().map(|(_, name)| name).collect()
    }

    /// Every order and its status.
    pub async fn statuses(&mut self) -> HashMap<Uuid, String> {
        self.named("SELECT id, status AS name FROM orders.orders").await.into_iter().collect()
    }

    /// The order that each idempotency key made.
    pub async fn orders_by_key(&mut self) -> HashMap<String, Uuid> {
        let rows = self.named("SELECT order_id AS id, key AS name FROM orders.idempotency_keys").await;
        rows.into_iter().map(|(id, key)| (key, id)).collect()
    }

    /// What lies in a queue though nothing is on its way, a sentence each; `garbage` dead letters are as they should be.
    /// A repetition of what is applied is no fault: it waits for the next worker.
    pub async fn left_in_queues(&mut self, garbage: u32) -> Vec<String> {
        let probe = self.shop.probe().await;
        let mut wrong = Vec::new();
        let mut dead = 0;
        for subscription in Subscription::ALL {
            dead += probe.waiting(&subscription.dead_letter_queue()).await;
            let queue = subscription.queue();
            if probe.waiting(&queue).await > 0 {
                for message in probe.take_all(&queue).await {
                    let event: serde_json::Value = serde_json::from_slice(&message.data).unwrap_or_default();
                    let id = event["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()).unwrap_or_default();
                    let applied = format!(
                        "SELECT count(*) FROM messaging.inbox WHERE event_id = '{id}' AND subscription = '{queue}'"
                    );
                    if self.count(&applied).await == 0 {
                        wrong.push(format!("{queue} still has {event}"));
                    }
                }
            }
        }
        let delays = self.shop.admin.retry_delays.as_slice().iter().map(|delay| names::retry(*delay));
        for queue in delays.chain([names::UNROUTED.to_owned()]) {
            let waiting = probe.waiting(&queue).await;
            if waiting > 0 {
                wrong.push(format!("{waiting} messages are left in {queue}"));
            }
        }
        if dead != garbage {
            wrong.push(format!("{dead} dead letters instead of the {garbage} that were put in"));
        }
        wrong
    }

    /// The latest events as they were published, the newest first: routing key and body.
    pub async fn recent_events(&mut self, limit: u32) -> Vec<(String, String)> {
        let latest = format!(
            "SELECT event_id AS id, event AS name FROM messaging.event_log ORDER BY occurred_at DESC LIMIT {limit}"
        );
        let rows = self.named(&latest).await;
        let ids: Vec<Uuid> = rows.into_iter().map(|(id, _)| id).collect();
        let outgoing = orderflow::store::event_log::outgoing(&mut self.connection, &ids).await;
        let outgoing = outgoing.expect("the log can be read");
        outgoing.into_iter().map(|event| (event.kind.routing_key().to_owned(), event.body)).collect()
    }
}
