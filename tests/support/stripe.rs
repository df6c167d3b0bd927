//! A Stripe-like payment provider (`orderflow-faults provider`), run as a test's own process.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_async::RunQueryDsl as _;
use orderflow_order::domain::stripe;
use orderflow_service::store::Connection;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Child, Web, until};

/// The provider, and where it keeps its ledger. It is killed when this is dropped.
#[derive(Debug)]
pub struct Stripe {
    child: Option<Child>,
    address: SocketAddr,
    directory: TempDir,
}

/// The provider's ledger.
#[derive(Debug, Deserialize)]
struct Ledger {
    intents: Vec<Intent>,
    refunds: Vec<Refund>,
    replays: usize,
    requests: u64,
    faults: HashMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Intent {
    id: String,
    order_id: Option<String>,
    amount: i64,
    currency: String,
    status: String,
    charged: u32,
}

#[derive(Debug, Deserialize)]
struct Refund {
    payment_intent: String,
    amount: i64,
}

/// Counts of what the provider has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charged {
    /// Payment intents, in any state.
    pub intents: usize,
    /// Intents that were charged.
    pub charges: usize,
    /// Refunds.
    pub refunds: usize,
}

/// An order, and the intent stored for it.
#[derive(Debug, QueryableByName)]
struct Order {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = BigInt)]
    total: i64,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Nullable<Text>)]
    intent_id: Option<String>,
}

impl Stripe {
    /// Starts a provider with an empty ledger.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut child = serve(&directory.path().join("ledger"), "127.0.0.1:0");
        let address = child.address().await;
        Self { child: Some(child), address, directory }
    }

    /// Returns the base URL of its API.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the settings of a worker that uses this provider.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings =
            [("PAYMENT_PROVIDER", "stripe"), ("STRIPE_SECRET_KEY", "sk_test_hush"), ("STRIPE_API_BASE", &self.base())];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Kills it without warning.
    ///
    /// # Panics
    /// Panics if it is not running.
    pub async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await;
    }

    /// Restarts it after [`Stripe::kill`], on the same port and ledger.
    pub async fn restart(&mut self) {
        let mut child = serve(&self.ledger_path(), &self.address.to_string());
        child.address().await;
        self.child = Some(child);
    }

    /// Makes this fault strike this share of all later calls, 0 to 1.
    ///
    /// # Panics
    /// Panics if the provider does not know the mode.
    pub async fn fail(&self, mode: &str, share: f64) {
        let body = json!({ "mode": mode, "share": share }).to_string().into_bytes();
        let headers = [("content-type", "application/json")];
        let answer = Web::new(self.address).send(Method::POST, "/faults", &headers, Some(body)).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// Makes later calls of this type (for example `confirm`) return this answer without any effect.
    ///
    /// # Panics
    /// Panics if the provider refuses this.
    pub async fn answer(&self, call: &str, status: u16, body: &Value) {
        self.answers(json!({ call: { "status": status, "body": body } })).await;
    }

    /// Makes the provider carry out every later call again.
    pub async fn answer_all(&self) {
        self.answers(json!({})).await;
    }

    async fn answers(&self, answers: Value) {
        let (headers, body) = ([("content-type", "application/json")], answers.to_string().into_bytes());
        let answer = Web::new(self.address).send(Method::POST, "/answers", &headers, Some(body)).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// Returns each charged intent's amount, in the provider's own units, and currency.
    pub async fn amounts(&self) -> Vec<(i64, String)> {
        let intents = self.ledger().await.intents.into_iter().filter(|intent| intent.charged > 0);
        intents.map(|intent| (intent.amount, intent.currency)).collect()
    }

    /// Returns each refund's amount, in the provider's own units.
    pub async fn refunded(&self) -> Vec<i64> {
        self.ledger().await.refunds.into_iter().map(|refund| refund.amount).collect()
    }

    /// Returns the number of requests to the API.
    pub async fn requests(&self) -> u64 {
        self.ledger().await.requests
    }

    /// Waits until this fault has struck this many times.
    pub async fn until_failed(&self, mode: &str, times: u64) {
        until(&format!("{mode} has struck {times} times"), async || {
            let struck = self.ledger().await.faults.get(mode).copied().unwrap_or_default();
            if struck >= times { Ok(()) } else { Err(struck) }
        })
        .await;
    }

    /// Returns what the provider has done so far.
    pub async fn charged(&self) -> Charged {
        let Ledger { intents, refunds, .. } = self.ledger().await;
        let charges = intents.iter().filter(|intent| intent.charged > 0).count();
        Charged { intents: intents.len(), charges, refunds: refunds.len() }
    }

    /// Returns how many requests the provider recognised by their idempotency key.
    pub async fn replays(&self) -> usize {
        self.ledger().await.replays
    }

    /// Returns the status of each of an order's intents.
    pub async fn statuses(&self, order: &str) -> Vec<String> {
        let intents = self.ledger().await.intents.into_iter();
        intents.filter(|intent| intent.order_id.as_deref() == Some(order)).map(|intent| intent.status).collect()
    }

    /// Compares the ledger with the orders: no customer is charged twice or without an order, and every refund that is
    /// due was made once. Returns the violations, a sentence each.
    ///
    /// # Panics
    /// Panics if the ledger or the orders cannot be read.
    pub async fn violations(&self, connection: &mut Connection) -> Vec<String> {
        let query = "SELECT id::text, status, total, currency, intent_id
                     FROM orders.orders LEFT JOIN payment.intents ON intents.order_id = orders.id";
        let orders: Vec<Order> = diesel::sql_query(query).load(connection).await.expect("orders can be read");
        let ledger = self.ledger().await;
        let mut of_orders: HashMap<&str, Vec<&Intent>> = HashMap::new();
        for intent in &ledger.intents {
            of_orders.entry(intent.order_id.as_deref().unwrap_or_default()).or_default().push(intent);
        }
        let mut refunds: HashMap<&str, Vec<&Refund>> = HashMap::new();
        for refund in &ledger.refunds {
            refunds.entry(&refund.payment_intent).or_default().push(refund);
        }
        let mut wrong = Vec::new();
        for order in &orders {
            let intents = of_orders.remove(order.id.as_str()).unwrap_or_default();
            let mut found = |what: &str| wrong.push(format!("{what}: {order:?} {intents:?}"));
            check_order(order, &intents, &refunds, &mut found);
        }
        wrong.extend(
            of_orders.into_values().flatten().map(|intent| format!("an intent belongs to no order: {intent:?}")),
        );
        wrong
    }

    async fn ledger(&self) -> Ledger {
        let answer: Value = Web::new(self.address).get("/ledger", &[]).await.body;
        serde_json::from_value(answer).expect("a ledger")
    }

    fn ledger_path(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }
}

fn check_order(
    order: &Order,
    intents: &[&Intent],
    refunds: &HashMap<&str, Vec<&Refund>>,
    found: &mut impl FnMut(&str),
) {
    let charged: Vec<_> = intents.iter().filter(|intent| intent.charged > 0).collect();
    if intents.iter().map(|intent| intent.charged).sum::<u32>() > 1 {
        found("an order was charged more than once");
    }
    if charged.iter().any(|intent| Some(&intent.id) != order.intent_id.as_ref()) {
        found("the charged intent is not the stored one");
    }
    let refunds: Vec<_> = charged.iter().filter_map(|intent| refunds.get(intent.id.as_str())).flatten().collect();
    // The provider's units are not always ours: 4998 ISK are 499800 there.
    let is_whole = |amount: i64| stripe::from_units(amount, &order.currency) == Some(order.total);
    let right = match (order.status.as_str(), charged.as_slice(), refunds.as_slice()) {
        // An order of total zero is not charged.
        ("paid" | "reserved" | "shipped", charges, []) if order.total == 0 => charges.is_empty(),
        ("paid" | "reserved" | "shipped", [charge], []) => {
            is_whole(charge.amount) && charge.currency.eq_ignore_ascii_case(&order.currency)
        }
        ("payment_failed" | "cancelled", [], []) => true,
        ("cancelled", [_], [refund]) => is_whole(refund.amount),
        _ => false,
    };
    if !right {
        found(&format!("the payments do not match the order's status, with the refunds {refunds:?}"));
    }
    // An intent that was not charged must never be: a late confirmation must find it cancelled.
    let still_open = |intent: &&&Intent| {
        Some(&intent.id) == order.intent_id.as_ref() && intent.charged == 0 && intent.status != "canceled"
    };
    if order.status == "cancelled" && intents.iter().any(|intent| still_open(&intent)) {
        found("a cancelled order could still be charged");
    }
}

fn serve(ledger: &std::path::Path, listen: &str) -> Child {
    let ledger = ledger.to_str().expect("text");
    Child::start("orderflow-faults", &["provider", "--listen", listen, "--ledger", ledger], &[])
}
