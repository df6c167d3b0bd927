//! Behaviour that depends on the version of RabbitMQ, on each supported version. `make test` runs these tests on the
//! shared servers, and `make test-full` also on servers of their own, with the RabbitMQ and PostgreSQL of newer
//! Debian releases.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use diesel_async::AsyncConnection as _;
use lapin::message::Delivery;
use nix::unistd::Uid;
use orderflow_service::{Subscription, store::Connection};
use orderflow_tests::{
    Authority, Child, DECLINED, Probe, Proxy, Servers, Shop, VISA,
    own::{Installed, Own, Postgres, Wanted, enter_own_mounts},
    queues, run, until, until_within,
};
use orderflow_worker::roster;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    broker_tls::file,
    commands::{ended, with},
};

const PAYMENT: Subscription = queues::PAYMENT_ORDER_CREATED;

/// One worker holds all of these messages together, because the default prefetch is 512.
const ORDERS: usize = 64;

/// RabbitMQ requeues everything that a dead worker held, so after three deaths all these messages are suspects. The
/// killer alone causes five more.
const DEATHS: usize = 3 + 5;

/// One fewer if the killer is once requeued without a death: a worker that switches to one message at a time requeues
/// what it holds, and RabbitMQ 3.10 counts that too (seen on a busy machine).
const FEWEST_DEATHS: usize = DEATHS - 1;

/// Three more if messages are redelivered in another order and a worker dies before it has set all suspects aside.
/// Four more if there is a second copy of the killer, which may cause one death fewer before the first is
/// dead-lettered.
pub const MOST_DEATHS: usize = DEATHS + 3 + 4;

const RETRY_DELAYS: &str = "200ms,1s";

/// Checks that set-up, its check, the doctor and all sorts of orders work on this version. RabbitMQ 4.3 omits `false`
/// values from its export, which once broke our strict parsing.
async fn sets_up_and_works(servers: Servers) {
    let mut shop = Shop::open_on(servers, RETRY_DELAYS).await;
    let operator = shop.operator_settings();
    for command in [["topology", "apply"], ["topology", "check"]] {
        ended(&run("orderflow", &command, &operator).await, 0, &["as they should be"]);
    }
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    for card in [VISA, "pm_card_flaky", DECLINED] {
        web.order("MUG-BLUE", 1, card).await;
    }
    shop.until_orders("shipped", 2).await;
    shop.until_orders("payment_failed", 1).await;
    let doctor = run("orderflow", &["doctor"], &operator).await;
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
    ended(&run("orderflow", &["queues"], &operator).await, 0, &["payment.order-created"]);
    shop.close().await;
}

/// Checks that PostgreSQL accepts a TLS handshake that no request precedes, as it does since version 17.
async fn accepts_direct_negotiation(postgres: &Postgres) {
    let (ours, directory) = (Authority::new("Ours"), TempDir::new().expect("a directory"));
    let trusted = file(&directory, ours.certificate());
    postgres.encrypt(&ours.server(&["localhost"]), Authority::new("nobody").certificate(), "").await;
    let mut url = postgres.url();
    url.set_host(Some("localhost")).expect("a host");
    let verified = format!("hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={trusted}&sslnegotiation=direct");
    url.set_query(Some(&verified));
    // PostgreSQL reloads its files a moment later.
    until("PostgreSQL accepts the connection", async || {
        Connection::establish(url.as_str()).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// A worker that this order's message kills, and that is restarted each time, as by a machine's supervisor.
struct Supervised {
    settings: Vec<(String, String)>,
    running: Child,
    deaths: usize,
}

impl Supervised {
    fn start(shop: &Shop, step: &str, order: Uuid) -> Self {
        let mut settings = shop.settings("orderflow-worker");
        let fault = [("FAULT_STEP", step), ("FAULT_ORDER", &order.to_string()), ("FAULT_TIMES", "1000000")];
        settings.extend(fault.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let running = Child::start("faulty-worker", &[], &settings);
        Self { settings, running, deaths: 0 }
    }

    fn keep_running(&mut self) {
        if self.running.has_ended() {
            self.deaths += 1;
            self.running = Child::start("faulty-worker", &[], &self.settings);
        }
    }
}

/// One of the messages that a worker holds kills its process in this step. That message must become a dead letter,
/// since retries do not help, and the queue must be consumed again. RabbitMQ counts the worker's deaths against the
/// other messages too, and would dead-letter them all at its delivery limit.
async fn a_killer_dies_alone(servers: Servers, step: &str) {
    let mut shop = Shop::open_on(servers, RETRY_DELAYS).await;
    let web = shop.start_web().await;
    let orders = web.orders(ORDERS, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    let killer = orders[ORDERS / 2].id;
    let probe = shop.probe().await;
    let mut worker = Supervised::start(&shop, step, killer);
    let dead = PAYMENT.dead_letter_queue();
    until_within(Duration::from_secs(200), "the killer is dead-lettered", async || {
        worker.keep_running();
        let found = (probe.waiting(&dead).await, worker.deaths);
        if found.0 > 0 { Ok(()) } else { Err(found) }
    })
    .await;
    assert!((FEWEST_DEATHS..=MOST_DEATHS).contains(&worker.deaths), "{} deaths", worker.deaths);
    until_others_are_done(&shop, killer, || worker.keep_running()).await;
    let letters = stop_and_take_copies(worker.running, &probe, killer).await;
    for letter in &letters {
        only_our_headers(letter);
        let table = letter.properties.headers().clone().unwrap_or_default();
        let reason = orderflow_service::broker::headers::text(&table, "x-orderflow-reason");
        assert!(reason.as_ref().is_some_and(|reason| reason.contains("alone")), "{reason:?}");
    }
    // A plain `close` would wait for the killer's order. Naming a dead-letter queue prevents that.
    shop.close_with_dead_letters(&[(PAYMENT, 0)]).await;
}

/// Waits until every other order has shipped and its customer has all mails.
async fn until_others_are_done(shop: &Shop, order: Uuid, mut keep_going: impl FnMut()) {
    let others = Shop::not_applied(
        roster(),
        &format!("AND NOT (log.order_id = '{order}' AND takes.subscription = '{}')", PAYMENT.queue()),
    );
    until("all others ship, and their customers have all mails", async || {
        // A second copy of the order's message may still arrive, and would block the other messages while this worker
        // lives.
        keep_going();
        let left = (shop.number("SELECT count(*) FROM messaging.outbox").await, shop.number(&others).await);
        if left == (0, 0) { Ok(()) } else { Err(left) }
    })
    .await;
    shop.until_orders("shipped", i64::try_from(ORDERS - 1).expect("small")).await;
}

/// Kills the worker and removes the remaining copies of an order's message from its queue and dead letters. Returns
/// the dead letters: at least one, and none of another order. If a worker died between copying a message and
/// acknowledging the original, both exist.
async fn stop_and_take_copies(worker: Child, probe: &Probe, order: Uuid) -> Vec<Delivery> {
    // The message kills the worker or hangs in it, so it could not stop gracefully.
    worker.kill().await;
    until("the dead worker's messages are requeued", async || {
        let consumers = probe.consumers(&PAYMENT.queue()).await;
        if consumers == 0 { Ok(()) } else { Err(consumers) }
    })
    .await;
    let letters = probe.take_all(&PAYMENT.dead_letter_queue()).await;
    assert!(!letters.is_empty());
    // If a worker died before the acknowledgement, an applied message may have a second copy there.
    drop(probe.take_all(&PAYMENT.queue()).await);
    for message in &letters {
        let event: Value = serde_json::from_slice(&message.data).expect("an event");
        assert_eq!(event["subject"], order.to_string(), "another order's message was dead-lettered too");
    }
    letters
}

/// A worker whose connections break each time it holds one order's message.
struct Disconnected {
    worker: Child,
    wire: Proxy,
    /// The number of times that they broke.
    broken: usize,
}

impl Disconnected {
    async fn start(shop: &Shop, order: Uuid) -> Self {
        let url = shop.broker_url("orderflow-worker");
        let wire = Proxy::to(&url).await;
        let (order, through) = (order.to_string(), wire.through(&url).to_string());
        let fault = [("FAULT_STEP", "hang"), ("FAULT_ORDER", &order), ("FAULT_TIMES", "0"), ("AMQP_URL", &through)];
        let worker = Child::start("faulty-worker", &[], &with(shop.settings("orderflow-worker"), &fault));
        Self { worker, wire, broken: 0 }
    }

    fn keep_breaking(&mut self) {
        let in_hand = self.worker.log().iter().filter(|line| line.contains("hangs, as the test asked")).count();
        if in_hand > self.broken {
            self.broken += 1;
            self.wire.reset();
        }
    }
}

/// The worker survives, but its connection breaks each time it holds one of the messages. To RabbitMQ that looks the
/// same. The worker must remember across connections to handle one message at a time.
#[tokio::test(flavor = "multi_thread")]
async fn message_that_breaks_its_workers_connection_is_dead_lettered_alone() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let orders = web.orders(ORDERS, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    let breaker = orders[ORDERS / 2].id;
    let mut disconnected = Disconnected::start(&shop, breaker).await;
    let (probe, dead) = (shop.probe().await, PAYMENT.dead_letter_queue());
    until("the breaker is dead-lettered", async || {
        disconnected.keep_breaking();
        let found = (probe.waiting(&dead).await, disconnected.broken);
        if found.0 > 0 { Ok(()) } else { Err(found) }
    })
    .await;
    let broken = disconnected.broken;
    assert!((FEWEST_DEATHS..=MOST_DEATHS).contains(&broken), "{broken} connections broke");
    until_others_are_done(&shop, breaker, || disconnected.keep_breaking()).await;
    stop_and_take_copies(disconnected.worker, &probe, breaker).await;
    shop.close_with_dead_letters(&[(PAYMENT, 0)]).await;
}

fn headers(message: &Delivery) -> impl Iterator<Item = (String, String)> {
    let table = message.properties.headers().clone().unwrap_or_default();
    let all: Vec<_> = table.inner().iter().map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect();
    all.into_iter()
}

/// Checks that a republished copy has no broker headers, with which it would inherit another message's history.
fn only_our_headers(message: &Delivery) {
    // On `basic.get` the queue adds its own count: 0, since this message was never requeued.
    let own_count = ("x-delivery-count".to_owned(), "LongLongInt(0)".to_owned());
    let is_ours = |header: &(String, String)| header.0.starts_with("x-orderflow-") || *header == own_count;
    let foreign: Vec<_> = headers(message).filter(|header| !is_ours(header)).collect();
    assert_eq!(foreign, [], "the broker's headers were copied");
    assert!(headers(message).all(|(name, _)| name != "x-orderflow-alone"), "a dead letter starts without marks");
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_kills_its_worker_while_acting_is_dead_lettered_alone() {
    a_killer_dies_alone(Servers::from_env(), "abort-act").await;
}

/// A worker prepares a whole batch before it acts, so any message of the batch may be the killer.
#[tokio::test(flavor = "multi_thread")]
async fn message_that_kills_its_worker_while_preparing_is_dead_lettered_alone() {
    a_killer_dies_alone(Servers::from_env(), "abort-prepare").await;
}

/// Runs a test on servers of its own, from this release of Debian.
fn on(release: &str, test: impl AsyncFnOnce(&Own)) {
    enter_own_mounts().expect("mounts of its own: run this as root, by `make test-full`");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let debian = Installed::below_dev(release);
        let own = Own::start(&Wanted { rabbitmq: debian.clone(), postgres: debian, ..Wanted::default() }).await;
        println!("RabbitMQ {}, PostgreSQL {}", own.rabbitmq.first().version().await, own.postgres.version().await);
        test(&own).await;
    });
}

/// One start of the servers for all: it takes longer than they do.
async fn works_in_every_respect(own: &Own) {
    sets_up_and_works(own.servers()).await;
    accepts_direct_negotiation(&own.postgres).await;
    a_killer_dies_alone(own.servers(), "abort-act").await;
}

/// RabbitMQ 4.0 and PostgreSQL 17.
const DEBIAN_13: &str = "trixie";

/// RabbitMQ 4.3 and PostgreSQL 18.
const SID: &str = "sid";

/// Runs shell lines with the functions of scripts/debian.sh, for a checkout in this directory. Returns the exit
/// status and standard error.
fn with_debian_sh(checkout: &Path, path: &str, lines: &str) -> (Option<i32>, String) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let sourced = ["lib", "install", "debian"].map(|name| format!(". '{}/{name}.sh'\n", scripts.display())).concat();
    let script = format!("set -euo pipefail\n{sourced}ROOT='{0}' DEV='{0}/.dev'\n{lines}", checkout.display());
    let path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
    let done = Command::new("bash").args(["-c", &script]).env("PATH", path).env_remove("RABBITMQ").output();
    let done = done.expect("bash is installed");
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

/// Sid's index changes and is at times out of date or inconsistent. The message must say that Debian is the cause,
/// and what to do. An incomplete tree must not pass for a complete one the next time.
#[test]
fn failed_installation_of_a_debian_release_is_explained_in_one_line() {
    let (checkout, programs) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let debootstrap = programs.path().join("debootstrap");
    fs::write(&debootstrap, "#!/bin/sh\necho 'E: the index is expired'\nexit 1\n").expect("it can be written");
    fs::set_permissions(&debootstrap, fs::Permissions::from_mode(0o755)).expect("our own file");
    let path = programs.path().to_str().expect("text");
    for _ in 0..2 {
        let (code, said) = with_debian_sh(checkout.path(), path, "need_debian sid");
        assert_eq!(code, Some(1), "{said}");
        let expected = if Uid::effective().is_root() {
            "it changes daily, and its index may be out of date"
        } else {
            "needs root"
        };
        assert!(said.lines().next().is_some_and(|line| line.contains(expected)), "{said}");
    }
}

#[test]
fn unknown_version_is_refused_with_the_known_ones() {
    let checkout = TempDir::new().expect("a directory");
    for (setting, function, expected) in [
        ("RABBITMQ=4.1", "debian_with_rabbitmq", "RABBITMQ must be 3.10, 4 or 4.3, or unset.\n"),
        ("POSTGRES=16", "debian_with_postgres", "POSTGRES must be 15, 17 or 18, or unset.\n"),
    ] {
        let (code, said) = with_debian_sh(checkout.path(), "/usr/bin", &format!("{setting}\nFOUND=$({function})"));
        assert_eq!((code, said.as_str()), (Some(1), expected));
    }
}

#[test]
#[ignore = "servers of its own from another Debian release: only in the full suite"]
fn rabbitmq_4_0_and_postgresql_17_work_and_a_message_that_kills_its_worker_is_dead_lettered_alone() {
    on(DEBIAN_13, works_in_every_respect);
}

#[test]
#[ignore = "servers of its own from another Debian release: only in the full suite"]
fn rabbitmq_4_3_and_postgresql_18_work_and_a_message_that_kills_its_worker_is_dead_lettered_alone() {
    on(SID, works_in_every_respect);
}
