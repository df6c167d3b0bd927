//! Who may archive orders, and what a registered service learns about archived ones.

use orderflow_tests::{
    Order, VISA,
    roles::{close, database_as},
    run,
};

use crate::{
    commands::{ended, with},
    retention::{age, finished, script},
    roles::{connect_as, may, shop_with_roles},
};

/// The operators' role can move history only with the function, which checks it. It can change neither the log nor
/// the archive.
#[tokio::test(flavor = "multi_thread")]
async fn operators_role_archives_and_a_registered_service_learns_what_it_has_applied() {
    let mut shop = shop_with_roles().await;
    let (web, orders) = finished(&mut shop).await;
    let orders = age(&shop, &orders).await;
    let url = database_as(&shop, "ops");
    let settings = with(shop.operator_settings(), &[("DATABASE_URL", url.as_str())]);
    ended(&run("orderflow", &["retention"], &settings).await, 0, &["4 would be archived"]);
    ended(&run("orderflow", &["retention", "--yes"], &settings).await, 0, &["Archived: 4 orders"]);
    ended(&run("orderflow", &["why", &orders[0].id.to_string()], &settings).await, 0, &["shipment.created"]);
    ended(&run("orderflow", &["audit"], &settings).await, 0, &[]);
    let call = "PERFORM messaging.archive_orders(ARRAY[]::uuid[], now() - interval '1 year', ARRAY[]::text[], ARRAY[]::text[])";
    for (role, statement, allowed) in [
        ("ops", call, true),
        ("ops", "DELETE FROM messaging.event_archive", false),
        ("ops", "UPDATE messaging.event_archive SET event = event", false),
        ("worker", call, false),
        ("web", call, false),
        ("payment", "PERFORM count(*) FROM messaging.event_archive", true),
        ("readonly", "PERFORM count(*) FROM messaging.v_event_log", true),
        ("web", "PERFORM count(*) FROM messaging.v_event_log", true),
    ] {
        let mut connection = connect_as(&shop, role).await;
        assert_eq!(may(&mut connection, statement).await, allowed, "{role}: {statement}");
    }

    script(
        &shop,
        "INSERT INTO messaging.services (name, tracks) VALUES ('loyalty', 'inbox');
         INSERT INTO messaging.service_events VALUES ('loyalty', 'takes', 'order.created')",
    )
    .await;
    let claim = |order: &Order, event: &str| {
        format!(
            "SELECT outcome FROM messaging.claim('loyalty.order-created', {event}, '{}', 'order.created')",
            order.id
        )
    };
    let archived =
        format!("(SELECT event_id FROM messaging.event_archive WHERE order_id = '{}' AND version = 1)", orders[0].id);
    assert_eq!(shop.text(&claim(&orders[0], &archived)).await, "applied");
    assert_eq!(shop.text(&claim(&orders[0], "gen_random_uuid()")).await, "unknown");
    assert_eq!(shop.number("SELECT count(*) FROM messaging.inbox WHERE subscription LIKE 'loyalty%'").await, 0);
    let young = web.order("MUG-BLUE", 1, VISA).await;
    let live = format!("(SELECT event_id FROM messaging.event_log WHERE order_id = '{}' AND version = 1)", young.id);
    for outcome in ["claimed", "applied"] {
        assert_eq!(shop.text(&claim(&young, &live)).await, outcome);
    }
    assert_eq!(shop.text(&claim(&orders[0], &live)).await, "unknown", "the event belongs to another order");
    web.until_status(&young, "shipped").await;
    // The service consumes only events outside the archive, so no delivery of an old order is missing.
    let story = run("orderflow", &["why", &orders[0].id.to_string(), "--json"], &settings).await;
    ended(&story, 0, &["\"missing_deliveries\": []", "\"violations\": []"]);
    ended(&run("orderflow", &["audit", "--stuck-after", "1ms"], &settings).await, 0, &[]);
    script(&shop, "DELETE FROM messaging.services").await;
    close(shop).await;
}
