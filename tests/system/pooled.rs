//! Orders through PgBouncer in transaction mode, where each transaction may run in another PostgreSQL session.

use std::{fs, path::Path};

use orderflow_tests::{Child, Shop, VISA, run, until};

use crate::{
    admin::start_web_for_operators,
    commands::{ended, with},
    database_setup::{bouncer, bouncer_of},
    demo_orders::{message_ids, place_demo_orders},
};

/// Fewer sessions than client connections, so that clients share sessions.
const TRANSACTIONS: &str = "pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200";

async fn orders_flow_through(pooler: Option<&Path>, settings: &str, prepared: &str) {
    let mut shop = Shop::open().await;
    let (_child, url, _directory) = bouncer_of(pooler, &shop, settings).await;
    let (url, direct) = (url.to_string(), shop.database_url().to_string());
    let there =
        [("DATABASE_URL", url.as_str()), ("DATABASE_DIRECT_URL", direct.as_str()), ("DATABASE_PREPARED", prepared)];
    let operator = with(shop.operator_settings(), &there);
    ended(&run("orderflow", &["migrate"], &operator).await, 0, &["up to date"]);
    let (web, operators) = start_web_for_operators(&mut shop, &there).await;
    shop.start_worker_with(&[], &there).await;
    let planned = place_demo_orders(&shop, &web).await;
    let files = fs::read_dir(shop.mail_directory()).expect("mails were written");
    assert_eq!(message_ids(files.map(|file| fs::read(file.expect("a file").path()).expect("a mail"))), planned);
    assert_eq!(operators.get("/admin/orders").await["items"].as_array().map(Vec::len), Some(3));
    // Enough at once that clients share sessions. A killed worker leaves transactions open at the pooler.
    web.orders(80, "MUG-BLUE", VISA).await;
    shop.workers().remove(0).kill().await;
    shop.start_worker_with(&[], &there).await;
    shop.until_orders("shipped", 81).await;
    shop.until_quiet().await;
    // Of the sessions that stay open, only the one that listens goes past the pooler.
    until("at most five sessions are open", async || {
        let sessions = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name LIKE 'orderflow%'";
        let open = shop.number(sessions).await;
        if open <= 5 { Ok(()) } else { Err(open) }
    })
    .await;
    let both = ["DATABASE_URL: in clear", "DATABASE_DIRECT_URL: in clear"];
    ended(&run("orderflow", &["doctor"], &operator).await, 0, &both);
    for command in [&["audit", "--stuck-after", "1ms"][..], &["stock", "list"], &["queues"]] {
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
    // Notifications arrive in a session of their own, past the pooler.
    let listening = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name LIKE 'orderflow @%' AND query LIKE 'LISTEN%'
                        OR datname = current_database() AND application_name LIKE 'orderflow @%' AND query = 'SELECT 1'";
    assert!(shop.number(listening).await > 0, "no session listens");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer: `make test-full` installs it"]
async fn orders_flow_through_a_pooler_in_transaction_mode() {
    orders_flow_through(None, TRANSACTIONS, "off").await;
}

/// PgBouncer has `max_prepared_statements` since 1.21; older versions reject the setting.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer 1.21 or newer: `make test-full` as root installs it"]
async fn orders_flow_through_a_pooler_that_carries_prepared_statements() {
    let pooler = std::env::var_os("NEWER_PGBOUNCER").expect("NEWER_PGBOUNCER: `make test-full` as root sets it");
    let (pooler, settings) = (Path::new(&pooler), format!("{TRANSACTIONS}\nmax_prepared_statements = 200"));
    orders_flow_through(Some(pooler), &settings, "on").await;
    orders_flow_through(Some(pooler), &settings, "off").await;
}

/// Through a pooler without support, prepared statements would fail now and then.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer: `make test-full` installs it"]
async fn pooler_without_prepared_statements_is_refused_where_the_settings_require_them() {
    let shop = Shop::open().await;
    // Since 1.24 PgBouncer carries them by default; before 1.21 it rejects the setting.
    let version = std::process::Command::new("pgbouncer").arg("--version").output().expect("PgBouncer is installed");
    let is_old = String::from_utf8_lossy(&version.stdout).starts_with("PgBouncer 1.18.");
    let carries_none = if is_old { "" } else { "max_prepared_statements = 0" };
    let (_child, url, _directory) = bouncer(&shop, &format!("{TRANSACTIONS}\n{carries_none}")).await;
    let (url, direct) = (url.to_string(), shop.database_url().to_string());
    let there = [("DATABASE_URL", url.as_str()), ("DATABASE_DIRECT_URL", direct.as_str()), ("DATABASE_PREPARED", "on")];
    let says = "does not carry prepared statements: set DATABASE_PREPARED=off";
    ended(&run("orderflow-worker", &[], &with(shop.settings("orderflow-worker"), &there)).await, 2, &[says]);
}

/// At such an address, LISTEN would receive nothing, without any error.
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
