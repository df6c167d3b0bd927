//! The contents of database and broker, read through the checker's own connections.

use std::collections::{HashMap, HashSet};

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::{
    Roster,
    store::{Connection, event_log},
};
use orderflow_tests::{Left, Shop};
use uuid::Uuid;

/// A period, in microseconds since 1970 by the database's clock.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    /// The first moment.
    pub from: i64,
    /// The last moment.
    pub to: i64,
}

impl Period {
    /// Returns the SQL condition that this column is within it.
    fn includes(self, column: &str) -> String {
        let Self { from, to } = self;
        format!("extract(epoch FROM {column}) * 1000000 BETWEEN {from} AND {to}")
    }
}

/// Read access to a shop's data.
pub struct Ledger<'s> {
    shop: &'s Shop,
    connection: Connection,
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
    /// Connects to the database, which must be available.
    pub async fn open(shop: &'s Shop) -> Self {
        Self { shop, connection: shop.database().await }
    }

    /// Returns the number that a query yields.
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

    /// Returns the number of events still to be published, and of events still to be applied by these services.
    pub async fn unfinished(&mut self, roster: &Roster) -> (i64, i64) {
        let waiting = self.count("SELECT count(*) FROM messaging.outbox").await;
        (waiting, self.count(&Shop::not_applied(roster, "")).await)
    }

    /// Returns the present time, as in [`Period`].
    pub async fn now(&mut self) -> i64 {
        self.count("SELECT extract(epoch FROM clock_timestamp()) * 1000000").await
    }

    /// Returns the number of a role's sessions.
    pub async fn sessions(&mut self, role: &str) -> i64 {
        self.count(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = '{role}'"
        ))
        .await
    }

    /// Returns the unpublished events of these types, each with the number of times a relay leased it.
    pub async fn in_outbox(&mut self, kinds: &[&str]) -> HashMap<Uuid, String> {
        let kinds = kinds.join(",");
        let rows = format!(
            "SELECT event_id AS id, attempts::text AS name FROM messaging.outbox WHERE event = ANY ('{{{kinds}}}')"
        );
        self.named(&rows).await.into_iter().collect()
    }

    /// Returns how many events of this period are still to be published, and how many still to be applied, without
    /// those that wait for the absent service, whose own events have these types.
    pub async fn blocked(
        &mut self,
        roster: &Roster,
        absent: Option<&str>,
        its_kinds: &[&str],
        period: Period,
    ) -> (i64, i64) {
        let of_others = format!("<> ALL ('{{{}}}')", its_kinds.join(","));
        let unpublished = format!(
            "SELECT count(*) FROM messaging.outbox WHERE event {of_others} AND {}",
            period.includes("created_at")
        );
        let unapplied = Shop::not_applied(
            roster,
            &format!(
                "AND split_part(takes.subscription, '.', 1) <> '{}' AND {}
                 AND NOT EXISTS (SELECT FROM messaging.outbox AS waits
                                 WHERE waits.event_id = log.event_id AND NOT waits.event {of_others})
                 AND NOT EXISTS (SELECT FROM messaging.dead_letters AS dead
                                 WHERE dead.event_id = log.event_id AND dead.subscription = takes.subscription)",
                absent.unwrap_or_default(),
                period.includes("log.occurred_at")
            ),
        );
        (self.count(&unpublished).await, self.count(&unapplied).await)
    }

    /// Returns the orders parked by a dead letter, at most a hundred.
    pub async fn parked(&mut self) -> Vec<String> {
        let orders = "SELECT DISTINCT order_id AS id, order_id::text AS name
                      FROM messaging.dead_letters JOIN messaging.event_log USING (event_id)
                      WHERE left_at IS NULL LIMIT 100";
        let orders = orders.replace("order_id", "event_log.order_id");
        self.named(&orders).await.into_iter().map(|(_, name)| name).collect()
    }

    /// Returns every order with its status.
    pub async fn statuses(&mut self) -> HashMap<Uuid, String> {
        self.named("SELECT id, status AS name FROM orders.orders").await.into_iter().collect()
    }

    /// Returns the order of each idempotency key.
    pub async fn orders_by_key(&mut self) -> HashMap<String, Uuid> {
        let rows = self.named("SELECT order_id AS id, key AS name FROM orders.idempotency_keys").await;
        rows.into_iter().map(|(id, key)| (key, id)).collect()
    }

    /// Returns the Message-IDs of the mails recorded as sent.
    pub async fn planned_mails(&mut self) -> HashSet<String> {
        let mails = "SELECT order_id AS id, message_id AS name FROM email.mails WHERE sent_at IS NOT NULL";
        self.named(mails).await.into_iter().map(|(_, id)| id).collect()
    }

    /// Returns the latest orders with this status, at most `limit`.
    pub async fn recent_orders(&mut self, status: &str, limit: u32) -> Vec<Uuid> {
        let latest = format!(
            "SELECT id, status AS name FROM orders.orders WHERE status = '{status}' ORDER BY id DESC LIMIT {limit}"
        );
        self.named(&latest).await.into_iter().map(|(id, _)| id).collect()
    }

    /// Returns a sentence for each queue that should be empty and is not; `garbage` dead letters are expected.
    pub async fn left_in_queues(&mut self, roster: &Roster, garbage: u32) -> Vec<String> {
        let Left { mut wrong, dead } = self.shop.left_in_queues(roster, &mut self.connection).await;
        if dead.values().sum::<u32>() != garbage {
            wrong.push(format!("{dead:?} are dead letters instead of the {garbage} injected"));
        }
        wrong
    }

    /// Returns the latest events as published, newest first: routing key and body.
    pub async fn recent_events(&mut self, limit: u32) -> Vec<(String, String)> {
        let latest = format!(
            "SELECT event_id AS id, event AS name FROM messaging.event_log ORDER BY occurred_at DESC LIMIT {limit}"
        );
        let rows = self.named(&latest).await;
        let ids: Vec<Uuid> = rows.into_iter().map(|(id, _)| id).collect();
        let outgoing = event_log::outgoing(&mut self.connection, &ids).await;
        let outgoing = outgoing.expect("the log can be read");
        outgoing.into_iter().map(|event| (event.event, event.body)).collect()
    }
}
