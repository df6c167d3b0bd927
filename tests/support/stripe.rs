//! A payment provider in Stripe's manner (`orderflow-faults provider`), as a process of a test's own.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
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

/// What the provider's ledger says.
#[derive(Debug, Deserialize)]
struct Ledger {
    intents: Vec<Intent>,
    refunds: Vec<Refund>,
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

/// What the provider has done, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charged {
    /// Payment intents, whatever became of them.
    pub intents: usize,
    /// Intents that were charged.
    pub charges: usize,
    /// Refunds.
    pub refunds: usize,
}

/// An order, and which intent is remembered for it.
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
    /// Starts one with an empty ledger.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut child = serve(&directory.path().join("ledger"), "127.0.0.1:0");
        let address = child.address().await;
        Self { child: Some(child), address, directory }
    }

    /// Where its API is.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a worker is told that is to use it.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings =
            [("PAYMENT_PROVIDER", "stripe"), ("STRIPE_SECRET_KEY", "sk_test_hush"), ("STRIPE_API_BASE", &self.base())];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Kills it without warning.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await;
    }

    /// Starts it again after [`Stripe::kill`], on the same port and ledger.
    pub async fn restart(&mut self) {
        let mut child = serve(&self.ledger_path(), &self.address.to_string());
        child.address().await;
        self.child = Some(child);
    }

    /// From now on this goes wrong with so many of the calls, 0 to 1.
    ///
    /// # Panics
    /// When it does not know the mode.
    pub async fn fail(&self, mode: &str, share: f64) {
        let body = json!({ "mode": mode, "share": share }).to_string().into_bytes();
        let headers = [("content-type", "application/json")];
        let answer = Web::new(self.address).send(Method::POST, "/faults", &headers, Some(body)).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// Waits until this has gone wrong so often.
    pub async fn until_failed(&self, mode: &str, times: u64) {
        until(&format!("{mode} has struck {times} times"), async || {
            let struck = self.ledger().await.faults.get(mode).copied().unwrap_or_default();
            if struck >= times { Ok(()) } else { Err(struck) }
        })
        .await;
    }

    /// What it has done so far.
    pub async fn charged(&self) -> Charged {
        let Ledger { intents, refunds, .. } = self.ledger().await;
        let charges = intents.iter().filter(|intent| intent.charged > 0).count();
        Charged { intents: intents.len(), charges, refunds: refunds.len() }
    }

    /// The status of each intent of an order.
    pub async fn statuses(&self, order: &str) -> Vec<String> {
        let intents = self.ledger().await.intents.into_iter();
        intents.filter(|intent| intent.order_id.as_deref() == Some(order)).map(|intent| intent.status).collect()
    }

    /// Holds its ledger against the orders: nobody is charged twice or for nothing, and everybody who is to get money
    /// back does, once.
    ///
    /// # Panics
    /// When that is not so.
    pub async fn check(&self, connection: &mut AsyncPgConnection) {
        let query = "SELECT id::text, status, total, currency, intent_id
                     FROM orders.orders LEFT JOIN payment.intents ON intents.order_id = orders.id";
        let orders: Vec<Order> = diesel::sql_query(query).load(connection).await.expect("orders can be read");
        let ledger = self.ledger().await;
        for order in &orders {
            check_order(order, &ledger);
        }
        let is_an_orders = |intent: &Intent| orders.iter().any(|order| Some(&order.id) == intent.order_id.as_ref());
        assert!(ledger.intents.iter().all(is_an_orders), "an intent belongs to no order: {ledger:#?}");
    }

    async fn ledger(&self) -> Ledger {
        let answer: Value = Web::new(self.address).get("/ledger", &[]).await.body;
        serde_json::from_value(answer).expect("a ledger")
    }

    fn ledger_path(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }
}

fn check_order(order: &Order, ledger: &Ledger) {
    let of_order = |intent: &&Intent| intent.order_id.as_ref() == Some(&order.id);
    let intents: Vec<_> = ledger.intents.iter().filter(of_order).collect();
    let charged: Vec<_> = intents.iter().filter(|intent| intent.charged > 0).collect();
    let times: u32 = intents.iter().map(|intent| intent.charged).sum();
    assert!(times <= 1, "an order was charged {times} times: {order:?} {intents:#?}");
    assert!(
        charged.iter().all(|intent| Some(&intent.id) == order.intent_id.as_ref()),
        "what was charged is not what is remembered: {order:?} {intents:#?}"
    );
    let refunds: Vec<_> = ledger
        .refunds
        .iter()
        .filter(|refund| charged.iter().any(|intent| intent.id == refund.payment_intent))
        .collect();
    let is_whole = |amount: i64| amount == order.total;
    match (order.status.as_str(), charged.as_slice(), refunds.as_slice()) {
        ("paid" | "reserved" | "shipped", [charge], []) => {
            assert!(
                is_whole(charge.amount) && charge.currency.eq_ignore_ascii_case(&order.currency),
                "{order:?} {charge:?}"
            );
        }
        ("payment_failed" | "cancelled", [], []) => {}
        ("cancelled", [_], [refund]) => assert!(is_whole(refund.amount), "{order:?} {refund:?}"),
        _ => panic!("the money is not where the order is: {order:?} {intents:#?} {refunds:#?}"),
    }
    // What is not charged can never be: a confirmation that is late on its way must find it cancelled.
    if order.status == "cancelled" {
        let open = intents.iter().find(|intent| {
            Some(&intent.id) == order.intent_id.as_ref() && intent.charged == 0 && intent.status != "canceled"
        });
        assert!(open.is_none(), "a cancelled order could still be charged: {order:?} {open:?}");
    }
}

fn serve(ledger: &std::path::Path, listen: &str) -> Child {
    let ledger = ledger.to_str().expect("text");
    Child::start("orderflow-faults", &["provider", "--listen", listen, "--ledger", ledger], &[])
}
