//! Databases that are set up differently from ours: they work, or an error says what to change.

use std::{fs, net::SocketAddr, path::Path};

use diesel_async::SimpleAsyncConnection as _;
use orderflow_tests::{Child, Shop, VISA, own::free_address, run, until};
use tokio::net::TcpStream;
use url::Url;

use crate::{
    commands::{ended, with},
    topology::said,
};

/// Restores the state before the first migration.
pub const EMPTY: &str = "
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)'
    LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP;
    DROP TABLE IF EXISTS public.__diesel_schema_migrations;
END $$";

pub async fn execute(shop: &Shop, sql: &str) {
    shop.database().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// The default search_path begins with a schema named after the role, and hosters create one for each user.
#[tokio::test(flavor = "multi_thread")]
async fn search_path_does_not_matter() {
    let mut shop = Shop::open().await;
    execute(&shop, EMPTY).await;
    execute(&shop, "CREATE SCHEMA AUTHORIZATION CURRENT_USER; CREATE SCHEMA other").await;
    let operator = shop.operator_settings();
    ended(&run("orderflow", &["migrate"], &operator).await, 0, &["migrated"]);
    ended(&run("orderflow", &["migrate"], &operator).await, 0, &["up to date"]);
    let name = shop.name().to_owned();
    execute(&shop, &format!("ALTER DATABASE {name} SET search_path = other")).await;
    ended(&run("orderflow", &["migrate"], &operator).await, 0, &["up to date"]);
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    web.order("MUG-BLUE", 1, VISA).await;
    shop.until_orders("shipped", 1).await;
    shop.close().await;
}

/// Commands once quoted PostgreSQL's error and suggested to check whether it is up.
#[tokio::test(flavor = "multi_thread")]
async fn commands_without_tables_name_the_remedy() {
    let shop = Shop::open().await;
    execute(&shop, EMPTY).await;
    let says = "The database's tables are missing or older than this program: run `orderflow migrate`";
    let commands: [&[&str]; 8] = [
        &["queues"],
        &["dlq", "list"],
        &["dlq", "replay", "--all", "--yes"],
        &["republish", "--missing", "--yes"],
        &["why", "4Z8K2M9Q10"],
        &["audit"],
        &["stock", "list"],
        &["stock", "set", "MUG-BLUE", "1"],
    ];
    for command in commands {
        said(command, &shop.operator_settings(), says).await;
    }
}

/// An earlier version created its list of migrations in the role's own schema; another program's list may be in
/// `public`.
#[tokio::test(flavor = "multi_thread")]
async fn list_of_migrations_is_found_in_any_schema() {
    let mut shop = Shop::open().await;
    execute(
        &shop,
        "CREATE SCHEMA AUTHORIZATION CURRENT_USER;
         DO $$ BEGIN EXECUTE format('ALTER TABLE public.__diesel_schema_migrations SET SCHEMA %I', current_user); END $$;
         CREATE TABLE public.__diesel_schema_migrations (version text PRIMARY KEY);
         INSERT INTO public.__diesel_schema_migrations VALUES ('20200101000000')",
    )
    .await;
    ended(&run("orderflow", &["migrate"], &shop.operator_settings()).await, 0, &["up to date"]);
    shop.start_web().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn role_without_rights_gets_the_missing_grant() {
    let shop = Shop::open_without_queues().await;
    execute(&shop, EMPTY).await;
    execute(&shop, "REVOKE ALL ON SCHEMA public FROM PUBLIC, pg_database_owner, CURRENT_USER").await;
    let refused = run("orderflow", &["migrate"], &shop.operator_settings()).await;
    ended(&refused, 3, &["may not set the database up", "GRANT USAGE, CREATE ON SCHEMA public TO"]);
    // The quoted statement is the remedy.
    let begin = refused.err.find("GRANT").expect("it is named");
    execute(&shop, refused.err[begin..].trim()).await;
    ended(&run("orderflow", &["migrate"], &shop.operator_settings()).await, 0, &["migrated"]);
}

/// Starts the installed PgBouncer in front of a shop's database.
pub async fn bouncer(shop: &Shop, settings: &str) -> (Child, Url, tempfile::TempDir) {
    bouncer_of(None, shop, settings).await
}

/// Like [`bouncer`], with this program instead of the installed one.
pub async fn bouncer_of(program: Option<&Path>, shop: &Shop, settings: &str) -> (Child, Url, tempfile::TempDir) {
    let (target, address): (Url, SocketAddr) = (shop.database_url(), free_address());
    let directory = tempfile::tempdir().expect("a directory");
    let password = percent_encoding::percent_decode_str(target.password().unwrap_or_default()).decode_utf8_lossy();
    let file = directory.path().join("pgbouncer.ini");
    let text = format!(
        "[databases]\n{name} = host={host} port={port} user={user} password='{password}'\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen}\nauth_type = any\nunix_socket_dir =\n{settings}\n",
        name = shop.name(),
        host = target.host_str().expect("a host"),
        port = target.port().unwrap_or(5432),
        user = target.username(),
        listen = address.port(),
    );
    fs::write(&file, text).expect("it can be written");
    let path = file.to_str().expect("text").to_owned();
    let mut arguments = vec![path.as_str()];
    if nix::unistd::Uid::effective().is_root() {
        // PgBouncer refuses to run as root.
        std::os::unix::fs::chown(directory.path(), Some(65_534), None).expect("root may give files away");
        arguments.extend(["-u", "nobody"]);
    }
    let child = match program {
        Some(program) => Child::start_path(program, &arguments, &[]),
        None => Child::start_installed("pgbouncer", &arguments),
    };
    until("PgBouncer listens", async || TcpStream::connect(address).await.map(drop)).await;
    let mut url = target;
    url.set_port(Some(address.port())).expect("it has a host");
    (child, url, directory)
}

/// If the programs mistook these poolers for an outage, they would wait for ever. If they mistook them for PostgreSQL,
/// orders would be lost.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PgBouncer: `make test-full` installs it"]
async fn unusable_pooler_is_named_at_start() {
    let shop = Shop::open().await;
    let ignoring = "ignore_startup_parameters = options,extra_float_digits";
    for (settings, says) in [
        ("pool_mode = session".to_owned(), "refuses the time-outs"),
        (format!("pool_mode = session\n{ignoring}"), "drops the time-outs"),
        // Either error may be reported.
        (format!("pool_mode = transaction\n{ignoring}"), "pooler at DATABASE_URL"),
        (format!("pool_mode = transaction\n{ignoring}"), "works in transaction mode"),
    ] {
        if says == "works in transaction mode" {
            let name = shop.name();
            let given = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
                .map(|setting| format!("ALTER DATABASE {name} SET {setting} = '10s'"));
            execute(&shop, &given.join("; ")).await;
        }
        let (_child, url, _directory) = bouncer(&shop, &settings).await;
        let url = url.to_string();
        let there = [("DATABASE_URL", url.as_str())];
        ended(&run("orderflow", &["serve"], &with(shop.settings("orderflow-web"), &there)).await, 2, &[says]);
        ended(&run("orderflow-worker", &[], &with(shop.settings("orderflow-worker"), &there)).await, 2, &[says]);
    }
}
