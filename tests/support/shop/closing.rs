//! The end of a test: nothing may be left over, and the invariants hold.

use std::collections::BTreeMap;

use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_service::{
    Roster, Subscription,
    broker::names,
    store::{Connection, inbox},
};
use orderflow_worker::roster;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::Shop;
use crate::{
    Probe,
    invariants::{INVARIANTS, SIMULATED_MONEY},
    plaintext, until,
};

/// How long the messages that are not dead-lettered may take to finish.
const A_WHILE: std::time::Duration = std::time::Duration::from_secs(20);

/// What the queues contain when no work remains.
#[derive(Debug, Default)]
pub struct Left {
    /// Messages that should not be where they are, a sentence each.
    pub wrong: Vec<String>,
    /// The number of dead letters by subscription; only subscriptions that have some.
    pub dead: BTreeMap<Subscription, u32>,
}

impl Shop {
    /// Ends the test: waits until the shop is quiet, stops its processes as an operator would, and checks that nothing
    /// is left over: no message anywhere, no dead letter, no version missing, no stock promised twice.
    ///
    /// # Panics
    /// Panics if a check fails.
    pub async fn close(self) {
        self.close_with_dead_letters(&[]).await;
    }

    /// Like [`Shop::close`], but expects this many dead letters in these subscriptions' queues.
    ///
    /// # Panics
    /// Panics if anything else is left over.
    pub async fn close_with_dead_letters(mut self, expected: &[(Subscription, u32)]) {
        if expected.is_empty() {
            self.until_quiet().await;
        } else {
            // Dead letters are never applied and foreign messages are not in the log, so this only gives the other
            // messages time to finish. `check_queues` checks whether they did.
            drop(tokio::time::timeout(A_WHILE, self.until_quiet_but_for_the_dead()).await);
        }
        for child in self.workers.drain(..).chain(self.web.drain(..)) {
            child.stop().await;
        }
        self.check_queues(expected).await;
        self.check_invariants().await;
    }

    async fn check_queues(&self, expected: &[(Subscription, u32)]) {
        let Left { wrong, dead } = self.left_in_queues(roster(), &mut *self.connection.lock().await).await;
        assert_eq!(wrong, Vec::<String>::new());
        let expected = expected.iter().copied().filter(|(_, count)| *count > 0).collect();
        assert_eq!(dead, expected, "dead letters");
    }

    /// Inspects every queue of these services, once no work remains.
    pub async fn left_in_queues(&self, roster: &Roster, connection: &mut Connection) -> Left {
        let (probe, mut left) = (self.probe().await, Left::default());
        for subscription in roster.subscriptions() {
            left.wrong.extend(left_to_do(&probe, connection, &subscription.queue()).await);
            let dead = probe.waiting(&subscription.dead_letter_queue()).await;
            if dead > 0 {
                left.dead.insert(*subscription, dead);
            }
        }
        let retries = self.admin.retry_delays.as_slice().iter().map(|delay| names::retry(*delay));
        for queue in retries.chain([names::UNROUTED.to_owned()]) {
            let waiting = probe.waiting(&queue).await;
            if waiting > 0 {
                left.wrong.push(format!("{waiting} messages are left in {queue}"));
            }
        }
        left
    }

    /// Checks the invariants that hold whatever a test did.
    async fn check_invariants(&self) {
        for (what, violations) in INVARIANTS {
            assert_eq!(self.number(violations).await, 0, "{what}");
        }
        let Some(stripe) = &self.stripe else {
            for (what, violations) in SIMULATED_MONEY {
                assert_eq!(self.number(violations).await, 0, "{what}");
            }
            return;
        };
        assert_eq!(stripe.violations(&mut self.database().await).await, Vec::<String>::new());
        let simulated = "SELECT (SELECT count(*) FROM simulator.charges) + (SELECT count(*) FROM simulator.refunds)";
        assert_eq!(self.number(simulated).await, 0, "the simulated provider was called too");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // `drop` cannot await, so the clean-up has a runtime and a thread of its own.
        self.web.clear();
        self.workers.clear();
        let (servers, admin, name) = (self.servers.clone(), self.admin.clone(), self.name.clone());
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let url = format!("{}api/vhosts/{name}", servers.management_url);
                let request = plaintext().build().expect("a client").request(Method::DELETE, url);
                drop(request.basic_auth(&admin.user, Some(admin.password.expose_secret())).send().await);
                let drop_database = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                // PostgreSQL refuses while an autovacuum worker uses the database: we cannot be a member of its role.
                until("the database is dropped", async || {
                    let mut connection = Connection::establish(servers.database_url.as_str())
                        .await
                        .map_err(|error| error.to_string())?;
                    let dropped = diesel::sql_query(&drop_database).execute(&mut connection).await;
                    dropped.map(drop).map_err(|error| error.to_string())
                })
                .await;
            });
        });
        drop(cleaning.join());
    }
}

/// Returns what is left in a work queue, except duplicates of applied events. After an outage events are published
/// twice, and the worker is stopped once every event is applied, possibly before it has recognised every duplicate.
async fn left_to_do(probe: &Probe, connection: &mut Connection, queue: &str) -> Vec<String> {
    let mut left = Vec::new();
    if probe.waiting(queue).await == 0 {
        return left;
    }
    for message in probe.take_all(queue).await {
        let event: serde_json::Value = serde_json::from_slice(&message.data).unwrap_or_default();
        let id = event["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()).unwrap_or_default();
        let applied = inbox::applied(connection, queue, &[id]).await.expect("the inbox can be read");
        if applied.is_empty() {
            left.push(format!("{queue} still has {event}"));
        }
    }
    left
}
