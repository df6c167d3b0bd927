//! Through PgBouncer in transaction mode, where the next transaction may run in another session of PostgreSQL.

use std::path::Path;

use orderflow_tests::{Child, Shop, VISA, run};

use crate::{
    commands::{ended, with},
    connections::place,
    database_setup::{bouncer, bouncer_of},
};

/// Fewer sessions than connections to it, so that these are mixed.
const TRANSACTIONS: &str = "pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200";

async fn orders_flow_through(pooler: Option<&Path>, settings: &str, prepared: &str) {
    let mut shop = Shop::open().await;
    let (_child, url, _directory) = bouncer_of(pooler, &shop, settings).await;
    let (url, direct) = (url.to_string(), shop.database_url().to_string());
    let there =
        [("DATABASE_URL", url.as_str()), ("DATABASE_DIRECT_URL", direct.as_str()), ("DATABASE_PREPARED", prepared)];
    let operator = with(shop.operator_settings(), &there);
    ended(&run("orderflow", &["migrate"], &operator).await, 0, &["up to date"]);
    let web = shop.start_web_with(&there).await;
    shop.start_worker_with(&[], &there).await;
    place(&shop, &web).await;
    // One that is killed leaves transactions open at the pooler.
    web.orders(20, "MUG-BLUE", VISA).await;
    shop.workers().remove(0).kill().await;
    shop.start_worker_with(&[], &there).await;
    shop.until_orders("shipped", 80).await;
    shop.until_quiet().await;
    for command in [&["doctor"][..], &["audit", "--stuck-after", "1ms"], &["stock", "list"], &["queues"]] {
        ended(&run("orderflow", command, &operator).await, 0, &[]);
    }
    let complaints = |child: &Child| {
        let log = child.log();
        log.into_iter()
            .filter(|line| line.contains("prepared statement") || line.contains("SQLSTATE"))
            .collect::<Vec<_>>()
    };
    let complaints: Vec<String> = shop.all_children().into_iter().flat_map(complaints).collect();
    assert_eq!(complaints, Vec::<String>::new());
    // What is heard of, is heard of in a session of its own.
    let listening = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name LIKE 'orderflow @%' AND query LIKE 'LISTEN%'
                        OR datname = current_database() AND application_name LIKE 'orderflow @%' AND query = 'SELECT 1'";
    assert!(shop.number(listening).await > 0, "nobody listens");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer: `make test-full` installs it"]
async fn orders_flow_through_a_pooler_in_transaction_mode() {
    orders_flow_through(None, TRANSACTIONS, "off").await;
}

/// PgBouncer since 1.21; older ones do not know the setting.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer 1.21 or newer: `make test-full` as root installs it"]
async fn orders_flow_through_a_pooler_that_carries_prepared_statements() {
    let pooler = std::env::var_os("NEWER_PGBOUNCER").expect("NEWER_PGBOUNCER: `make test-full` as root sets it");
    let (pooler, settings) = (Path::new(&pooler), format!("{TRANSACTIONS}\nmax_prepared_statements = 200"));
    orders_flow_through(Some(pooler), &settings, "on").await;
    orders_flow_through(Some(pooler), &settings, "off").await;
}

/// One that does not carry prepared statements would lose some of them, now and then.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer: `make test-full` installs it"]
async fn pooler_that_was_said_to_carry_prepared_statements_and_does_not_is_refused() {
    let shop = Shop::open().await;
    // Since 1.24 it carries them unless it is told not to; before 1.21 it does not know the setting.
    let version = std::process::Command::new("pgbouncer").arg("--version").output().expect("PgBouncer is installed");
    let is_old = String::from_utf8_lossy(&version.stdout).starts_with("PgBouncer 1.18.");
    let carries_none = if is_old { "" } else { "max_prepared_statements = 0" };
    let (_child, url, _directory) = bouncer(&shop, &format!("{TRANSACTIONS}\n{carries_none}")).await;
    let (url, direct) = (url.to_string(), shop.database_url().to_string());
    let there = [("DATABASE_URL", url.as_str()), ("DATABASE_DIRECT_URL", direct.as_str()), ("DATABASE_PREPARED", "on")];
    let says = "does not carry prepared statements: set DATABASE_PREPARED=off";
    ended(&run("orderflow-worker", &[], &with(shop.settings("orderflow-worker"), &there)).await, 2, &[says]);
}

/// What needs a session would hear of nothing, without any error.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer: `make test-full` installs it"]
async fn direct_address_of_another_database_or_of_a_pooler_is_refused() {
    let shop = Shop::open().await;
    let other = Shop::open().await;
    let (_child, url, _directory) = bouncer(&shop, TRANSACTIONS).await;
    let (url, elsewhere) = (url.to_string(), other.database_url().to_string());
    for (direct, says) in [(&elsewhere, "leads to another database"), (&url, "DATABASE_DIRECT_URL leads to a pooler")] {
        let there = [("DATABASE_URL", url.as_str()), ("DATABASE_DIRECT_URL", direct.as_str())];
        for (program, arguments) in [("orderflow", &["serve"][..]), ("orderflow-worker", &[])] {
            let user = if program == "orderflow" { "orderflow-web" } else { program };
            ended(&run(program, arguments, &with(shop.settings(user), &there)).await, 2, &[says]);
        }
    }
}
