//! Waiting for the shop's asynchronous work.

use orderflow_service::{Roster, store::missing::ConsumedEvents};
use orderflow_worker::roster;

use super::Shop;
use crate::{until, until_measured};

impl Shop {
    /// Waits until at least this many orders have this status.
    pub async fn until_orders(&self, status: &str, wanted: i64) {
        let query = format!("SELECT count(*) FROM orders.orders WHERE status = '{status}'");
        // The benchmark measures this wait.
        until_measured(&format!("{wanted} orders are {status}"), async || {
            let count = self.number(&query).await;
            if count >= wanted { Ok(()) } else { Err(count) }
        })
        .await;
    }

    /// Waits until every order is settled.
    pub async fn until_settled(&self) {
        let query = "SELECT count(*) FROM orders.orders WHERE status NOT IN ('shipped', 'payment_failed', 'cancelled')";
        until("every order is settled", async || {
            let count = self.number(query).await;
            if count == 0 { Ok(()) } else { Err(count) }
        })
        .await;
    }

    /// Waits until every event is published.
    pub async fn until_published(&self) {
        self.until_unpublished(0).await;
    }

    /// Waits until exactly `rows` rows are left in the outbox. Rows of published events are deleted up to 50 ms after
    /// RabbitMQ confirmed them, so a count that is read once may still contain them.
    pub async fn until_unpublished(&self, rows: i64) {
        until("every other event is published", async || {
            let waiting = self.number("SELECT count(*) FROM messaging.outbox").await;
            if waiting == rows { Ok(()) } else { Err(waiting) }
        })
        .await;
    }

    /// Waits until no work remains: every event is published, and every subscription to it has applied it.
    pub async fn until_quiet(&self) {
        self.until_applied("").await;
    }

    /// Like [`Shop::until_quiet`], but ignores deliveries that have ever been dead-lettered.
    pub(super) async fn until_quiet_but_for_the_dead(&self) {
        self.until_applied(
            "AND NOT EXISTS (SELECT FROM messaging.dead_letters AS dead
                             WHERE dead.event_id = log.event_id AND dead.subscription = takes.subscription)",
        )
        .await;
    }

    /// Returns a query that counts the events that subscriptions of these services have not applied. `but` is an SQL
    /// condition, beginning with `AND`, that excludes some of them.
    #[must_use]
    pub fn not_applied(roster: &Roster, but: &str) -> String {
        let ConsumedEvents { events, subscriptions } = ConsumedEvents::of(roster, roster.subscriptions());
        let takes: Vec<_> =
            events.iter().zip(subscriptions).map(|(event, queue)| format!("('{event}', '{queue}')")).collect();
        format!(
            "SELECT count(*) FROM messaging.event_log AS log
             JOIN (VALUES {}) AS takes (event, subscription) ON takes.event = log.event
             WHERE NOT EXISTS (SELECT FROM messaging.inbox AS inbox
                               WHERE inbox.event_id = log.event_id AND inbox.subscription = takes.subscription) {but}",
            takes.join(",")
        )
    }

    async fn until_applied(&self, but: &str) {
        let missing = Self::not_applied(roster(), but);
        until("every event is published and applied", async || {
            let waiting = self.number("SELECT count(*) FROM messaging.outbox").await;
            let missing = self.number(&missing).await;
            if waiting == 0 && missing == 0 {
                Ok(())
            } else {
                Err(format!("{waiting} in the outbox, {missing} not applied"))
            }
        })
        .await;
    }
}
