//! While a provider is unavailable, its messages wait on the broker and everything else continues. After it recovers,
//! each message is handled once.

use std::time::{Duration, Instant};

use orderflow_tests::{Child, Proxy, Shop, SmtpSink, VISA, Way, Web, queues, until};
use url::Url;

/// The number of messages that may use up an attempt before an outage is detected. Five consecutive failures open the
/// breaker, and some messages that fail at the same moment are settled before it opens. Without a breaker all messages
/// would use up their attempts.
const FEW: usize = 15;

/// Starts a worker that reaches its payment provider through a proxy.
async fn start_wired(shop: &mut Shop, settings: &[(&str, &str)]) -> Proxy {
    let url = shop.database_url();
    let wire = Proxy::to(&url).await;
    let ledger = wire.through(&url).to_string();
    shop.start_worker_with(&[], &[&[("SIMULATOR_DATABASE_URL", ledger.as_str())], settings].concat()).await;
    wire
}

fn logged(worker: &Child, text: &str) -> usize {
    worker.log().iter().filter(|line| line.contains(text)).count()
}

/// Waits until this many probes of the provider have failed.
async fn until_probed(worker: &Child, wanted: usize) {
    until(&format!("the provider was probed {wanted} times"), async || {
        let probes = logged(worker, "is still unavailable");
        if probes >= wanted { Ok(()) } else { Err(probes) }
    })
    .await;
}

async fn until_mails(shop: &Shop, kind: &str, wanted: i64) {
    let sent = format!("SELECT count(*) FROM email.mails WHERE kind = '{kind}' AND sent_at IS NOT NULL");
    until(&format!("{wanted} mails {kind:?} are sent"), async || {
        let count = shop.number(&sent).await;
        if count == wanted { Ok(()) } else { Err(count) }
    })
    .await;
}

/// Waits until the worker reports that it is ready, with these providers paused.
async fn is_ready_and_paused(worker: &mut Child, paused: &[&str]) {
    let health = Web::new(worker.address().await);
    until(&format!("the worker is ready and has paused {paused:?}"), async || {
        let answer = health.get("/readyz", &[]).await;
        if answer.status.is_success() && answer.body["paused"] == serde_json::json!(paused) {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_for_an_unavailable_payment_provider_while_others_continue() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let wire = start_wired(&mut shop, &[]).await;
    web.orders(20, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 20).await;
    is_ready_and_paused(shop.workers().last_mut().expect("it runs"), &[]).await;

    wire.cut().await;
    web.orders(200, "MUG-BLUE", VISA).await;
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("the payment provider is unavailable").await;
    is_ready_and_paused(worker, &["payment"]).await;
    worker.until_logged("paused: trying the provider with one message at a time queue=\"payment.order-created\"").await;
    let attempts = logged(worker, "it is tried again");
    assert!((1..=FEW).contains(&attempts), "{attempts} attempts were used up");
    until_mails(&shop, "received", 220).await;
    // The probes follow after one, two and four seconds. With retries alone, the messages would be dead letters after
    // 1.2 s.
    until_probed(shop.workers().last().expect("it runs"), 3).await;
    let probe = shop.probe().await;
    let queue = queues::PAYMENT_ORDER_CREATED.queue();
    assert_eq!(probe.waiting(&queue).await, 199, "all wait on the broker except the one used as probe");
    let worker = shop.workers().last_mut().expect("it runs");
    assert_eq!(logged(worker, "it is tried again"), attempts, "a probe used up an attempt");

    wire.mend().await;
    worker.until_logged("the payment provider is available again").await;
    shop.until_orders("shipped", 220).await;
    is_ready_and_paused(shop.workers().last_mut().expect("it runs"), &[]).await;
    let worker = shop.workers().last().expect("it runs");
    assert_eq!(logged(worker, "it is tried again"), attempts, "more attempts were used up");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_payment_provider_opens_the_breaker_and_nobody_is_charged_twice() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let wire = start_wired(&mut shop, &[("PAYMENT_TIMEOUT", "3s")]).await;
    web.orders(20, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 20).await;

    // Charges arrive at the provider, but its answers are held back.
    wire.stall(Way::ToClient);
    web.orders(200, "MUG-BLUE", VISA).await;
    let worker = shop.workers().last_mut().expect("it runs");
    let line = worker.until_logged("the payment provider is unavailable").await;
    assert!(line.contains("did not answer within 3s"), "{line}");
    until_probed(worker, 2).await;
    assert!(logged(worker, "it is tried again") <= FEW, "{:#?}", worker.log());

    wire.flow();
    shop.until_orders("shipped", 220).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_ship_without_the_mail_server_and_each_mail_follows_once() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let sink = SmtpSink::start(0).await;
    let url: Url = sink.url.parse().expect("a URL");
    let wire = Proxy::to(&url).await;
    let smtp_url = wire.through(&url).to_string();
    let settings = [("MAIL", "smtp"), ("SMTP_URL", smtp_url.as_str())];
    wire.cut().await;
    shop.start_worker_with(&[], &settings).await;
    web.orders(50, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 50).await;
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("the mail server is unavailable").await;
    until_probed(worker, 1).await;
    is_ready_and_paused(worker, &["mail"]).await;
    assert!(logged(worker, "it is tried again") <= FEW, "{:#?}", worker.log());

    // The pause does not delay the worker's stop.
    let (worker, start) = (shop.workers().pop().expect("it runs"), Instant::now());
    worker.stop().await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    shop.start_worker_with(&[], &settings).await;
    shop.workers().last_mut().expect("it runs").until_logged("the mail server is unavailable").await;

    wire.mend().await;
    until_mails(&shop, "received", 50).await;
    until_mails(&shop, "shipped", 50).await;
    let mails = sink.mails();
    let ids = mails.iter().map(|mail| {
        let text = String::from_utf8_lossy(mail);
        text.lines().find(|line| line.starts_with("Message-ID")).expect("it has one").to_owned()
    });
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!((mails.len(), ids.len()), (100, 100), "each mail once");
    shop.close().await;
}

/// The other tests keep a provider unavailable only for seconds.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes"]
async fn minute_without_the_payment_provider_under_load_only_delays_orders() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let wire = start_wired(&mut shop, &[]).await;
    web.orders(100, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 100).await;
    wire.cut().await;
    let away = Instant::now();
    let mut placed = 100;
    // At most thirty orders a second: the load of a good day, not a stress test.
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    while away.elapsed() < Duration::from_secs(60) {
        seconds.tick().await;
        web.orders(30, "MUG-BLUE", VISA).await;
        placed += 30;
        until_mails(&shop, "received", placed).await;
    }
    let worker = shop.workers().last().expect("it runs");
    let attempts = logged(worker, "it is tried again");
    println!("{placed} orders, {attempts} attempts used up, {} probes", logged(worker, "is still unavailable"));
    assert!(attempts <= FEW, "{attempts} attempts were used up");
    wire.mend().await;
    let mended = Instant::now();
    shop.until_orders("shipped", placed).await;
    println!("everything was shipped {:?} after the provider recovered", mended.elapsed());
    shop.close().await;
}
