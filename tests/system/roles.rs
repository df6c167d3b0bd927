//! PostgreSQL roles: each kind of process has the rights that it needs and no others.

use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
use orderflow::store::{self, discarded};
use orderflow_order::store::idempotency;
use orderflow_service::store::{Connection, failures};
use orderflow_tests::{
    DECLINED, Shop, VISA,
    own::{Own, Wanted},
    roles::{PASSWORD, close, database_as, make, operator, prefix},
    run, until,
};
use orderflow_worker::roster;
use url::Url;

use crate::{
    commands::{ended, with},
    parts::start_workers,
    rights,
};

pub async fn connect_as(shop: &Shop, role: &str) -> Connection {
    Connection::establish(database_as(shop, role).as_str()).await.unwrap_or_else(|error| panic!("{role}: {error}"))
}

pub async fn shop_with_roles() -> Shop {
    let shop = Shop::open().await;
    make(&shop, &[]).await;
    shop
}

/// Runs a statement and rolls it back. Returns whether the role may run it; any other error fails the test.
pub async fn may(connection: &mut Connection, statement: &str) -> bool {
    let tried = |refused: &str| {
        format!(
            "DO $$ BEGIN {statement}; RAISE EXCEPTION USING ERRCODE = 'ZZ001';
             EXCEPTION WHEN SQLSTATE 'ZZ001' THEN NULL; WHEN insufficient_privilege THEN {refused}; END $$"
        )
    };
    connection.batch_execute(&tried("NULL")).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    connection.batch_execute(&tried("RAISE EXCEPTION 'refused'")).await.is_ok()
}

fn log(event: &str) -> String {
    format!(
        "INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, data)
         VALUES (gen_random_uuid(), 1, gen_random_uuid(), '{event}', '/test', now(), gen_random_uuid(), '{{}}')"
    )
}

/// The whole flow, forward and backward, with a PostgreSQL role and a RabbitMQ user for each service.
#[tokio::test(flavor = "multi_thread")]
async fn orders_flow_with_a_role_and_a_user_for_each_process() {
    let mut shop = shop_with_roles().await;
    let web = shop.start_web_with(&[("DATABASE_URL", database_as(&shop, "web").as_str())]).await;
    rights::make_users(&shop).await;
    start_workers(&mut shop).await;
    let orders = web.orders(5, "MUG-BLUE", VISA).await;
    for card in ["pm_card_flaky", DECLINED] {
        web.order("MUG-BLUE", 1, card).await;
    }
    // The simulated carrier refuses this order: the stock is released and the money refunded.
    let refused = web.order("BATTERY-BULK", 1, VISA).await;
    web.until_status(&refused, "cancelled").await;
    shop.until_settled().await;
    shop.until_orders("shipped", 6).await;
    shop.until_quiet().await;
    assert!(shop.number("SELECT count(*) FROM messaging.attempts").await > 0, "the flaky card's failures are recorded");
    assert_eq!(shop.number("SELECT count(*) FROM email.mails WHERE sent_at IS NULL").await, 0);

    let commands = with(shop.operator_settings(), &[("DATABASE_URL", database_as(&shop, "ops").as_str())]);
    let order = orders[0].id.to_string();
    for command in [
        &["audit", "--stuck-after", "1ms"][..],
        &["doctor"],
        &["queues"],
        &["why", &order],
        &["dlq", "list"],
        &["stock", "list"],
        &["stock", "set", "MUG-BLUE", "77"],
        &["service", "list"],
        &["republish", "--missing"],
        &["republish", "--outbox"],
    ] {
        ended(&run("orderflow", command, &commands).await, 0, &[]);
    }
    close(shop).await;
}

/// One worker may run all services, with one role.
#[tokio::test(flavor = "multi_thread")]
async fn one_role_for_all_services_carries_orders() {
    let mut shop = shop_with_roles().await;
    let web = shop.start_web_with(&[("DATABASE_URL", database_as(&shop, "web").as_str())]).await;
    let url = database_as(&shop, "worker");
    shop.start_worker_with(&[], &[("DATABASE_URL", url.as_str())]).await;
    web.orders(5, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 5).await;
    close(shop).await;
}

/// Returns the schemas that a service's role may write, in addition to the shared one.
fn own_schemas(service: &str) -> &[&str] {
    match service {
        "order" => &["orders"],
        "payment" => &["payment", "simulator"],
        "inventory" => &["inventory"],
        "shipping" => &["shipping"],
        "email" => &["email"],
        other => panic!("add the schemas that {other} may write here"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn role_of_a_service_writes_only_its_own_rows() {
    let shop = shop_with_roles().await;
    let published = || {
        roster()
            .services()
            .flat_map(|service| service.publishes.iter().map(move |event| (service.name, event.as_str())))
    };
    for service in roster().names() {
        let mut connection = connect_as(&shop, service).await;
        for (owner, event) in published().chain([("order", "order.created"), ("order", "order.cancel-requested")]) {
            assert_eq!(may(&mut connection, &log(event)).await, owner == service, "{service} logs {event}");
        }
        let own_kind = format!("{service}.something-new");
        assert!(
            may(&mut connection, &log(&own_kind)).await,
            "{service} logs an event type of its own from a newer version"
        );
        for other in roster().names() {
            for statement in [
                format!(
                    "INSERT INTO messaging.inbox (event_id, subscription) VALUES (gen_random_uuid(), '{other}.order-created')"
                ),
                format!(
                    "INSERT INTO messaging.attempts (subscription, attempt, reason, worker, failed_at) VALUES ('{other}.order-created', 1, '', '', now())"
                ),
                format!(
                    "INSERT INTO messaging.dead_letters (subscription, attempt, reason, worker, died_at) VALUES ('{other}.order-created', 1, '', '', now())"
                ),
                format!(
                    "INSERT INTO messaging.resent (event_id, subscription) VALUES (gen_random_uuid(), '{other}.order-created')"
                ),
                format!(
                    "INSERT INTO messaging.queue_pace (worker, queue, measured_at, slots, in_hand, events_per_second, failures_per_second) VALUES ('', '{other}.order-created', now(), 1, 1, 1, 1)"
                ),
            ] {
                assert_eq!(may(&mut connection, &statement).await, other == service, "{service}: {statement}");
            }
        }
        for forbidden in [
            "UPDATE messaging.event_log SET event = 'payment.completed'",
            "DELETE FROM messaging.event_log",
            "TRUNCATE messaging.outbox",
        ] {
            assert!(!may(&mut connection, forbidden).await, "{service}: {forbidden}");
        }
        let written = format!(
            "SELECT coalesce(string_agg(DISTINCT schemaname, ' ' ORDER BY schemaname), '') FROM pg_tables
             WHERE schemaname NOT IN ('messaging', 'pg_catalog', 'information_schema')
               AND has_table_privilege('{}_{service}', quote_ident(schemaname) || '.' || quote_ident(tablename), 'INSERT, UPDATE, DELETE')",
            prefix(&shop)
        );
        assert_eq!(shop.text(&written).await, own_schemas(service).join(" "), "{service}");
    }
    close(shop).await;
}

/// The roles `web`, `readonly` and `ops` may write only what they need.
#[tokio::test(flavor = "multi_thread")]
async fn front_end_and_readers_write_only_what_they_need() {
    let shop = shop_with_roles().await;
    let mut web = connect_as(&shop, "web").await;
    assert!(may(&mut web, &log("order.created")).await);
    for statement in [
        log("payment.completed"),
        "UPDATE payment.payments SET status = status".to_owned(),
        "INSERT INTO messaging.inbox (event_id, subscription) VALUES (gen_random_uuid(), 'payment.order-created')"
            .to_owned(),
        "SELECT count(*) FROM payment.payments".replace("SELECT", "PERFORM"),
        "UPDATE inventory.stock SET available = 1".to_owned(),
        "UPDATE catalogue.products SET price = 1".to_owned(),
        "INSERT INTO operations.ended_sessions SELECT".to_owned().replace("SELECT", "DEFAULT VALUES"),
    ] {
        assert!(!may(&mut web, &statement).await, "{statement}");
    }
    let mut readonly = connect_as(&shop, "readonly").await;
    let written = format!(
        "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
           AND has_table_privilege('{}_readonly', quote_ident(schemaname) || '.' || quote_ident(tablename), 'INSERT, UPDATE, DELETE, TRUNCATE')",
        prefix(&shop)
    );
    assert_eq!(shop.number(&written).await, 0);
    assert!(may(&mut readonly, "PERFORM count(*) FROM orders.orders").await);
    let mut ops = connect_as(&shop, "ops").await;
    assert!(!may(&mut ops, &log("order.created")).await);
    assert!(!may(&mut ops, "DELETE FROM messaging.event_log").await);
    assert!(!may(&mut ops, "DELETE FROM payment.payments").await);
    drop((web, readonly, ops));
    close(shop).await;
}

/// Applies the rights' lock, as another host does, until this many commands have waited for it longer than a statement
/// usually waits for a lock (5 s).
async fn hold_rights(shop: &Shop, commands: i64) {
    let mut other = shop.database().await;
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({})", store::rights::LOCK);
    other.batch_execute(&lock).await.expect("it is locked");
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
                   WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
                     AND waitstart < clock_timestamp() - interval '5.5 seconds'";
    until("every command waits longer than usual", async || {
        let count = shop.number(waiting).await;
        if count == commands { Ok(()) } else { Err(count) }
    })
    .await;
    other.batch_execute("COMMIT").await.expect("it is unlocked");
}

/// Several hosts may apply the rights concurrently and repeatedly, and the printed statements match what is applied.
#[tokio::test(flavor = "multi_thread")]
async fn roles_are_created_concurrently_and_by_the_printed_statements() {
    let shop = Shop::open().await;
    let settings = operator(&shop);
    let together = (0..4).map(|_| run("orderflow", &["rights", "apply"], &settings));
    let (made, ()) = tokio::join!(futures::future::join_all(together), hold_rights(&shop, 4));
    for made in made {
        ended(&made, 0, &[]);
    }
    let rights = "SELECT string_agg(relname || coalesce(relacl::text, ''), ' ' ORDER BY relname) || (SELECT string_agg(pg_policies::text, ' ' ORDER BY tablename, policyname) FROM pg_policies) FROM pg_class WHERE relkind IN ('r', 'v')";
    let applied = shop.text(rights).await;
    let printed = run("orderflow", &["rights", "print"], &settings).await;
    ended(&printed, 0, &["COMMIT;"]);
    assert!(!printed.out.contains(PASSWORD));
    shop.database().await.batch_execute(&printed.out).await.expect("it is valid SQL that can be run again");
    assert_eq!(shop.text(rights).await, applied);
    close(shop).await;
}

#[tokio::test]
async fn prefix_that_cannot_name_a_role_is_refused() {
    for prefix in ["Shop", "pg_shop", "shop-1", "1shop", &"x".repeat(33)] {
        let settings = [("DATABASE_ROLE_PREFIX".to_owned(), prefix.to_owned())];
        let refused = run("orderflow", &["rights", "print"], &settings).await;
        ended(&refused, 2, &[]);
        assert!(refused.err.contains("DATABASE_ROLE_PREFIX"), "{refused:?}");
    }
}

/// Follows docs/RUNBOOK.md: sets the new password, then replaces the processes that use it one by one.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_of_a_service_are_rotated_while_orders_flow() {
    // Users belong to the whole broker, so this test needs its own.
    let own = Own::start(&Wanted { nodes: 1, ..Wanted::default() }).await;
    let mut shop = Shop::open_on(own.servers(), "200ms,1s").await;
    make(&shop, &[]).await;
    let web = shop.start_web().await;
    rights::make_users(&shop).await;
    start_workers(&mut shop).await;
    let old = (database_as(&shop, "payment"), rights::broker_as(&shop, "payment"));
    let placing = web.orders(30, "MUG-BLUE", VISA);
    let rotating = async {
        let new = "another password";
        let set = [("DATABASE_PAYMENT_PASSWORD", new), ("AMQP_PAYMENT_PASSWORD", new)];
        let operator = with(operator(&shop), &set);
        ended(&run("orderflow", &["rights", "apply"], &operator).await, 0, &[]);
        ended(&run("orderflow", &["topology", "apply"], &operator).await, 0, &[]);
        new
    };
    let (_, new) = futures::join!(placing, rotating);
    // Open connections keep working.
    shop.until_orders("shipped", 30).await;
    // New connections need the new password.
    assert!(Connection::establish(old.0.as_str()).await.is_err(), "the old password still opens the database");
    let with_new = |mut url: Url| {
        url.set_password(Some(new)).expect("a host");
        url.to_string()
    };
    let (database, broker) = (with_new(old.0), with_new(old.1.parse().expect("a URL")));
    shop.start_worker_with(&["payment.*"], &[("DATABASE_URL", &database), ("AMQP_URL", &broker)]).await;
    let payment = roster().names().iter().position(|name| *name == "payment").expect("it is one");
    shop.workers().remove(payment).stop().await;
    web.orders(10, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", 40).await;
    close(shop).await;
}

/// Each role deletes the old rows of the tables that it writes.
#[tokio::test(flavor = "multi_thread")]
async fn each_process_deletes_its_own_old_rows() {
    let shop = shop_with_roles().await;
    shop.execute(
        "INSERT INTO messaging.attempts (subscription, attempt, reason, worker, failed_at)
         SELECT queue, 1, '', '', now() - interval '91 days' FROM unnest('{payment.order-created,email.order-created}'::text[]) AS queue",
    )
    .await;
    let mut payment = connect_as(&shop, "payment").await;
    assert_eq!(failures::forget_old(&mut payment, 10).await.expect("the role may delete its rows"), 1);
    assert_eq!(shop.text("SELECT string_agg(subscription, ' ') FROM messaging.attempts").await, "email.order-created");
    let mut web = connect_as(&shop, "web").await;
    idempotency::forget_old(&mut web, 10).await.expect("the shop deletes old idempotency keys");
    let mut ops = connect_as(&shop, "ops").await;
    discarded::forget_old(&mut ops, 10).await.expect("the console deletes old records of discarded messages");
    drop((payment, web, ops));
    close(shop).await;
}
