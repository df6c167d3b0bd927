//! The database refuses statements: nothing is lost, no attempt is used up, and everything recovers without a restart.
//! The programs classify errors by SQLSTATE, since messages are in the server's language.

use std::time::Duration;

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _, SimpleAsyncConnection as _};
use orderflow_service::store::Connection;
use orderflow_tests::{Answer, Scrape, Shop, VISA, Web, body, key, run, until, until_within};
use reqwest::StatusCode;

use crate::{alerts::address_in_log, commands::ended};

/// How long after the repair the programs may take to use the database again. Waits for it last two seconds at most;
/// waits for the simulated payment provider, whose ledger it holds, 15 s.
const RECOVERED: Duration = Duration::from_secs(40);

/// Runs statements in another database of the server, which is not read-only.
async fn beside(shop: &Shop, sql: &str) {
    let mut connection = Connection::establish(shop.servers.database_url.as_str()).await.expect("it can be reached");
    connection.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn place(web: &Web) -> Answer {
    web.place(&key(), &body("MUG-BLUE", 1, VISA)).await
}

/// Checks for 503, after which clients retry, rather than 500 or 409, after which they give up.
fn is_refused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.body["type"], "/problems/database-unavailable", "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
}

/// Locks a table that the workers need, so that their deliveries stay unacknowledged.
async fn hold_workers(shop: &Shop) -> Connection {
    let mut holding = shop.database().await;
    holding.batch_execute("BEGIN; LOCK TABLE messaging.inbox IN ACCESS EXCLUSIVE MODE").await.expect("it is free");
    holding
}

/// Checks that no attempt was used up. Payment is excluded: the simulated payment provider stands for another company,
/// and the first five calls that find it unavailable use up an attempt each.
async fn no_attempt_was_used(shop: &Shop) {
    let used = "SELECT count(*) FROM messaging.attempts WHERE subscription <> 'payment.order-created'";
    assert_eq!(shop.number(used).await, 0, "no attempt is used up");
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters").await, 0, "nothing was dead-lettered");
}

/// The database is read-only, as after a failover to a standby, or at a managed service whose disk is nearly full.
/// Connections opened meanwhile stay read-only until they are closed, so none of them may be used afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn read_only_database_refuses_orders_uses_no_attempt_and_recovers_without_a_restart() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let at = address_in_log(&mut shop.webs()[0], "answering operators").await;
    web.orders(5, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 5).await;

    let holding = hold_workers(&shop).await;
    web.orders(10, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    let name = shop.name().to_owned();
    let read_only = format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{name}' AND application_name LIKE 'orderflow%'"
    );
    beside(&shop, &read_only).await;
    drop(holding);

    is_refused(&place(&web).await);
    until("the front end reports it and stays ready", async || {
        let ready = web.get("/readyz", &[]).await;
        let says_so = ready.status == StatusCode::OK && ready.body["database"] == "read_only";
        if says_so { Ok(()) } else { Err(ready) }
    })
    .await;
    assert!(Scrape::of(at).await.sum("orderflow_database_refusals_total", &[("condition", "read_only")]) > 0.0);
    let found = run("orderflow", &["doctor"], &shop.operator_settings()).await;
    ended(&found, 1, &["The database is read-only", "default_transaction_read_only", "opened since"]);
    assert!(!found.out.contains("paused"), "doctor cannot know that: {found:?}");
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("paused: trying the database with one message at a time").await;

    beside(&shop, &format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await;
    until_within(RECOVERED, "three orders in a row are accepted", async || {
        for _ in 0..3 {
            let answer = place(&web).await;
            if answer.status != StatusCode::ACCEPTED {
                return Err(answer);
            }
        }
        Ok(())
    })
    .await;
    until_within(RECOVERED, "all waiting orders are shipped", async || {
        let moving = shop.number("SELECT count(*) FROM orders.orders WHERE status <> 'shipped'").await;
        if moving == 0 { Ok(()) } else { Err(moving) }
    })
    .await;
    until_within(RECOVERED, "the front end reports the recovery", async || {
        let ready = web.get("/readyz", &[]).await;
        if ready.body["database"] == "ok" { Ok(()) } else { Err(ready) }
    })
    .await;
    no_attempt_was_used(&shop).await;
    shop.close().await;
}

/// Disk full, out of memory, input/output error, too many connections, a limit, cancelled, serialization failure,
/// deadlock, read-only, lock not available, missing right, shutdown: none is caused by the message, and all are
/// temporary. The trigger raises them in turn, with a message in another language than English.
const STATES: &str = "{53100,53200,58030,53300,53400,57014,40001,40P01,25006,55P03,42501,57P01}";

#[tokio::test(flavor = "multi_thread")]
async fn temporary_database_errors_make_no_dead_letter() {
    let mut shop = Shop::open().await;
    let mut connection = shop.database().await;
    let fault = format!(
        "CREATE SEQUENCE public.turn; CREATE TABLE public.fault ();
         CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT FROM pg_class WHERE relname = 'fault' AND relnamespace = 'public'::regnamespace) THEN
                 RAISE EXCEPTION 'kein Platz auf dem Gerät'
                     USING ERRCODE = ('{STATES}'::text[])[1 + nextval('public.turn') % array_length('{STATES}'::text[], 1)];
             END IF;
             RETURN NEW;
         END $$"
    );
    connection.batch_execute(&fault).await.expect("it is ours");
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let holding = hold_workers(&shop).await;
    web.orders(10, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    let trigger =
        "CREATE TRIGGER refuse BEFORE INSERT ON messaging.event_log FOR EACH ROW EXECUTE FUNCTION public.refuse()";
    connection.batch_execute(trigger).await.expect("it is ours");
    drop(holding);

    is_refused(&place(&web).await);
    let worker = shop.workers().last_mut().expect("it runs");
    worker.until_logged("paused: trying the database with one message at a time").await;
    assert!(shop.number("SELECT last_value FROM public.turn").await > 24, "each was raised at least twice");
    no_attempt_was_used(&shop).await;

    connection.batch_execute("DROP TABLE public.fault").await.expect("it is ours");
    until_within(RECOVERED, "all waiting orders are shipped", async || {
        let moving = shop.number("SELECT count(*) FROM orders.orders WHERE status <> 'shipped'").await;
        if moving == 0 { Ok(()) } else { Err(moving) }
    })
    .await;
    drop(place(&web).await.accepted());
    shop.until_settled().await;
    no_attempt_was_used(&shop).await;
    shop.close().await;
}

/// Doctor names a full disk. An error that is not temporary still dead-letters the message.
#[tokio::test(flavor = "multi_thread")]
async fn full_database_is_named_and_a_refused_value_is_still_dead_lettered() {
    let mut shop = Shop::open().await;
    let mut connection = shop.database().await;
    let refuse = |state: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'nein' USING ERRCODE = '{state}'; END $$"
        )
    };
    connection.batch_execute(&refuse("53100")).await.expect("it is ours");
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON orders.idempotency_keys FOR EACH ROW EXECUTE FUNCTION public.refuse()";
    connection.batch_execute(&full.replace(" full ", " refuse ")).await.expect("it is ours");
    let found = run("orderflow", &["doctor"], &shop.operator_settings()).await;
    ended(&found, 1, &["The database is full", "53100"]);
    let web = shop.start_web().await;
    is_refused(&place(&web).await);
    assert_eq!(web.get("/readyz", &[]).await.body["database"], "full");

    connection.batch_execute("DROP TRIGGER refuse ON orders.idempotency_keys").await.expect("it is ours");
    // Orders need several tables.
    let log =
        "CREATE TRIGGER refuse BEFORE INSERT ON messaging.event_log FOR EACH ROW EXECUTE FUNCTION public.refuse()";
    connection.batch_execute(log).await.expect("it is ours");
    let found = run("orderflow", &["doctor"], &shop.operator_settings()).await;
    ended(&found, 1, &["The database is full", "messaging.event_log", "53100"]);
    is_refused(&place(&web).await);
    assert_eq!(web.get("/readyz", &[]).await.body["database"], "full");
    connection.batch_execute("DROP TRIGGER refuse ON messaging.event_log").await.expect("it is ours");

    connection.batch_execute(&refuse("22003")).await.expect("it is ours");
    let charged =
        "CREATE TRIGGER refuse BEFORE INSERT ON payment.payments FOR EACH ROW EXECUTE FUNCTION public.refuse()";
    connection.batch_execute(charged).await.expect("it is ours");
    shop.start_worker(&["payment.order-created"]).await;
    web.order("MUG-BLUE", 1, VISA).await;
    until("it is a dead letter", async || {
        let died = shop.number("SELECT count(*) FROM messaging.dead_letters").await;
        if died == 1 { Ok(()) } else { Err(died) }
    })
    .await;
}

/// Schemas to which orders do not write: the catalogue, the list of operators' actions, the simulated payment provider,
/// and the migrations.
const NOT_TRIED: &str = "'catalogue', 'operations', 'simulator', 'public', 'pg_catalog', 'information_schema'";

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Returns the tables to which the front end and the workers write.
async fn written(connection: &mut Connection) -> Vec<String> {
    let query = format!(
        "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
         WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ({NOT_TRIED})
           AND table_name NOT IN ('audits', 'services', 'service_events', 'event_archive') ORDER BY 1"
    );
    let tables: Vec<Table> = diesel::sql_query(query).load(connection).await.expect("it answers");
    tables.into_iter().map(|table| table.name).collect()
}

/// The number of rows in all tables plus the last values of all sequences.
const LEFT_BEHIND: &str = "SELECT (SELECT sum((xpath('/row/c/text()', query_to_xml(format(
         'SELECT count(*) AS c FROM %I.%I', schemaname, tablename), false, true, '')))[1]::text::bigint) FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema'))::bigint
     + (SELECT coalesce(sum(last_value), 0) FROM pg_sequences)::bigint";

/// A table may have a disk or a quota of its own. So doctor tries to write to each, and leaves nothing behind: neither
/// rows nor used numbers of a sequence.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_tries_every_table_that_orders_need_and_leaves_nothing_behind() {
    let shop = Shop::open().await;
    let mut connection = shop.database().await;
    let before = shop.number(LEFT_BEHIND).await;
    let refuse = "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                      RAISE EXCEPTION 'nein' USING ERRCODE = '53100'; END $$";
    connection.batch_execute(refuse).await.expect("it is ours");
    let tables = written(&mut connection).await;
    assert!(tables.len() > 15, "{tables:?}");
    for table in tables {
        let full =
            format!("CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION public.refuse()");
        connection.batch_execute(&full).await.expect("it is ours");
        let found = run("orderflow", &["doctor"], &shop.operator_settings()).await;
        ended(&found, 1, &["The database is full", &table, "53100"]);
        connection.batch_execute(&format!("DROP TRIGGER full_disk ON {table}")).await.expect("it is ours");
    }
    let found = run("orderflow", &["doctor"], &shop.operator_settings()).await;
    assert!(!found.out.contains("cannot be written to"), "{found:?}");
    assert_eq!(shop.number(LEFT_BEHIND).await, before, "nothing is left behind");
    shop.close().await;
}

/// A locked table, for example during VACUUM FULL, is an outage for every key. A 409 would mean that an order with that
/// key is being placed.
#[tokio::test(flavor = "multi_thread")]
async fn locked_table_is_an_outage_and_not_a_key_in_progress() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    for table in ["orders.orders", "orders.idempotency_keys", "messaging.event_log"] {
        let mut holding = shop.database().await;
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        holding.batch_execute(&lock).await.expect("it is free");
        is_refused(&place(&web).await);
        drop(holding);
        until_within(RECOVERED, "orders are accepted again", async || {
            let answer = place(&web).await;
            if answer.status == StatusCode::ACCEPTED { Ok(()) } else { Err(answer) }
        })
        .await;
    }
    shop.until_published().await;
}
