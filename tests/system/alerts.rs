//! The alerts fire, are mailed and resolve: in a real Prometheus and a real Alertmanager, for a real shop with real
//! faults.
//!
//! By default every duration in monitoring/ (`for`, windows, intervals of scraping and mailing) is divided by ten,
//! since some alerts wait for minutes; thresholds are unchanged. With `ALERTS_AS_THEY_ARE=1` the files are used
//! unchanged, which takes twenty minutes: the table of docs/ALERTS.md is from such a run. Print it with
//! `make test-full ARGS='--no-capture alerts::'`.

mod watch;

use std::{env, net::SocketAddr, sync::Arc, time::Duration};

use orderflow_service::broker::names;
use orderflow_tests::{Child, Proxy, Shop, VISA, Way, Web, body, key, own::free_address, run};
use reqwest::Method;
use tokio::{
    task::JoinHandle,
    time::{Instant, interval},
};

use self::watch::{Run, Watch};
use crate::{
    dead_letters::{PAYMENT, STRANGER, discard},
    monitoring::Monitoring,
};

const PAYS: &str = "payment.order-created";

/// A shop that can be broken in the ways below.
struct Breakable {
    shop: Shop,
    web: Web,
    /// Between every process and RabbitMQ.
    broker: Proxy,
    /// Between the payment worker and its provider.
    provider: Proxy,
    /// Between the front end and the database.
    database: Proxy,
    /// The address of the payment service's worker.
    payment: SocketAddr,
}

/// Waits until the process has logged a line that contains `says`, and returns the address in that line.
pub async fn address_in_log(child: &mut Child, says: &str) -> SocketAddr {
    let line = child.until_logged(says).await;
    let address = ["address=", "at="].iter().find_map(|before| line.split(before).nth(1)?.split_whitespace().next());
    address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address: {line}"))
}

impl Breakable {
    async fn open() -> Self {
        let mut shop = Shop::open().await;
        let plenty = run("orderflow", &["stock", "set", "MUG-BLUE", "1000000"], &shop.operator_settings()).await;
        assert_eq!(plenty.code, Some(0), "{plenty:?}");
        let broker = Proxy::to(&shop.broker_url("orderflow-web")).await;
        let (provider, database) = (Proxy::to(&shop.database_url()).await, Proxy::to(&shop.database_url()).await);
        let amqp = broker.through(&shop.broker_url("orderflow-web")).to_string();
        let stored = database.through(&shop.database_url()).to_string();
        let web = shop.start_web_with(&[("AMQP_URL", &amqp), ("DATABASE_URL", &stored)]).await;
        let amqp = broker.through(&shop.broker_url("orderflow-worker")).to_string();
        shop.start_worker_without(&["payment.*"], &[("AMQP_URL", &amqp)]).await;
        let mut opened = Self { shop, web, broker, provider, database, payment: free_address() };
        opened.start_payment().await;
        opened
    }

    /// Starts the payment worker, always at the address that Prometheus scrapes.
    async fn start_payment(&mut self) {
        let amqp = self.broker.through(&self.shop.broker_url("orderflow-worker")).to_string();
        let ledger = self.provider.through(&self.shop.database_url()).to_string();
        let address = self.payment.to_string();
        let settings = [
            ("AMQP_URL", amqp.as_str()),
            ("SIMULATOR_DATABASE_URL", &ledger),
            ("PAYMENT_TIMEOUT", "3s"),
            ("WORKER_LISTEN", &address),
        ];
        self.shop.start_worker_with(&["payment.*"], &settings).await;
    }

    async fn watched(&mut self, faster: u32) -> Monitoring {
        let web = address_in_log(&mut self.shop.webs()[0], "answering operators").await;
        let others = address_in_log(&mut self.shop.workers()[0], "worker started").await;
        let workers = [others, self.payment];
        Monitoring::start(&self.shop, &[("web", &[web]), ("worker", &workers)], faster).await
    }

    /// Places five orders a second, whether or not they are accepted.
    fn customers(&self) -> JoinHandle<()> {
        let web = self.web.clone();
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_millis(200));
            loop {
                ticks.tick().await;
                let web = web.clone();
                tokio::spawn(async move {
                    let (key, order) = (key(), body("MUG-BLUE", 1, VISA).to_string());
                    let headers = [("idempotency-key", key.as_str()), ("content-type", "application/json")];
                    drop(web.try_send(Method::POST, "/orders", &headers, Some(order.into_bytes())).await);
                });
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes four minutes, or twenty with ALERTS_AS_THEY_ARE=1: only in the full suite"]
async fn main_alerts_fire_are_mailed_and_resolve() {
    let faster = if env::var_os("ALERTS_AS_THEY_ARE").is_some() { 1 } else { 10 };
    let mut shop = Breakable::open().await;
    let monitoring = Arc::new(shop.watched(faster).await);
    let customers = shop.customers();
    shop.shop.until_orders("shipped", 50).await;
    assert_eq!(monitoring.firing().await, [serde_json::Value::Null; 0], "nothing is broken yet");
    let mut run = Run::new(Watch::start(Arc::clone(&monitoring)), faster);

    let settled = a_worker_stops(&mut shop, &mut run).await;
    messages_that_nobody_can_use(&shop, &mut run).await;
    the_provider_hangs(&shop, &mut run).await;
    run.ends("orders were settled late", &["OrdersSettleTooLate"], settled).await;
    the_broker_is_away(&shop, &mut run).await;
    the_database_is_away(&shop, &mut run).await;

    customers.abort();
    run.print();
    shop.shop.close().await;
}

/// Returns the time at which the worker ran again: from then on the waiting orders are settled, late.
async fn a_worker_stops(shop: &mut Breakable, run: &mut Run) -> Instant {
    let (fault, queue) = ("the payment worker is stopped", |alert: &str| format!("{alert} {PAYS}"));
    let (none, grows, slow) = (queue("QueueHasNoConsumer"), queue("QueueGrows"), queue("QueueDrainsTooSlowly"));
    let broken = Instant::now();
    shop.shop.workers().pop().expect("it runs").stop().await;
    run.fires(fault, &["ProcessIsDown worker", &none], broken).await;
    run.fires_untold(fault, &[&grows, &slow], broken).await;
    let mended = Instant::now();
    shop.start_payment().await;
    run.ends(fault, &["ProcessIsDown worker", &none, &grows, &slow], mended).await;
    run.fires("orders were settled late", &["OrdersSettleTooLate"], mended).await;
    mended
}

async fn messages_that_nobody_can_use(shop: &Breakable, run: &mut Run) {
    let (probe, dead) = (shop.shop.probe().await, format!("DeadLetters {}", PAYMENT.dead_letter_queue()));
    let unrouted = format!("UnroutableMessages {}", names::UNROUTED);
    let broken = Instant::now();
    probe.publish("", &PAYMENT.queue(), STRANGER).await;
    probe.publish(names::EVENTS, "no.such-event", STRANGER).await;
    run.fires("an event of an order that does not exist", &[&dead], broken).await;
    run.fires("an event that no queue is bound for", &[&unrouted], broken).await;
    let mended = Instant::now();
    let discarded = discard(&shop.shop, &["--all"]).await;
    assert_eq!(discarded.code, Some(0), "{discarded:?}");
    assert_eq!(probe.take_all(names::UNROUTED).await.len(), 1);
    run.ends("an event of an order that does not exist", &[&dead], mended).await;
    run.ends("an event that no queue is bound for", &[&unrouted], mended).await;
}

async fn the_provider_hangs(shop: &Breakable, run: &mut Run) {
    let (fault, away) = ("the payment provider hangs", ["ProviderIsAway payment"]);
    let broken = Instant::now();
    shop.provider.stall(Way::ToClient);
    run.fires(fault, &away, broken).await;
    let mended = Instant::now();
    shop.provider.flow();
    run.ends(fault, &away, mended).await;
}

async fn the_broker_is_away(shop: &Breakable, run: &mut Run) {
    let (fault, none) = ("RabbitMQ cannot be reached", format!("QueueHasNoConsumer {PAYS}"));
    let broken = Instant::now();
    shop.broker.cut().await;
    run.fires(fault, &["OutboxIsOld", &none], broken).await;
    let mended = Instant::now();
    shop.broker.mend().await;
    run.ends(fault, &["OutboxIsOld", &none], mended).await;
}

async fn the_database_is_away(shop: &Breakable, run: &mut Run) {
    let (fault, refused) = ("the front end's database is unavailable", ["OrdersAreRefused"]);
    let broken = Instant::now();
    shop.database.cut().await;
    run.fires(fault, &refused, broken).await;
    let mended = Instant::now();
    shop.database.mend().await;
    run.ends(fault, &refused, mended).await;
}
