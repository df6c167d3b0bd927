//! The services in examples/, run alongside the workers like services that other teams add.

use orderflow_tests::{
    examples::{FRAUD_CHECK, LOYALTY, fraud_check, make_fraud_check_role},
    own::Own,
    program_path, run,
};

use crate::{component::Component, world::World};

/// Minor units from which an order is suspicious, chosen so that some orders of a run are and some are not.
const FRAUD_LIMIT: u32 = 3000;

/// Returns the checks of their rows: a description of the violation, and a query that counts it.
#[must_use]
pub fn checks() -> [(&'static str, String); 3] {
    let points = "SELECT count(*) FROM orders.orders AS o FULL JOIN loyalty.bookings AS b ON b.order_id = o.id
                  WHERE b.points IS DISTINCT FROM CASE WHEN o.status = 'shipped' THEN o.total / 100 END";
    let events = "SELECT count(*) FROM loyalty.bookings AS b
                  WHERE 1 <> (SELECT count(*) FROM messaging.event_log AS l
                              WHERE l.order_id = b.order_id AND l.event = 'loyalty.points-booked')";
    let verdicts = format!(
        "SELECT count(*) FROM orders.orders AS o FULL JOIN fraud_check.verdicts AS v ON v.order_id = o.id
         WHERE v.suspicious IS DISTINCT FROM (o.total >= {FRAUD_LIMIT})"
    );
    [
        ("a shipped order lacks the points of its total, or an order that did not ship has points", points.to_owned()),
        ("a booking has no event loyalty.points-booked, or several", events.to_owned()),
        ("an order has no verdict, or an incorrect one", verdicts),
    ]
}

/// Registers both and starts one process of each.
pub async fn start(world: &mut World, own: &Own) {
    LOYALTY.register(&world.shop).await;
    FRAUD_CHECK.register(&world.shop).await;
    world.read_registered().await;
    let migrated = run("loyalty", &["migrate"], &world.shop.settings("orderflow-worker")).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.err);
    world.credentials.extend(&world.shop, &world.roster).await;
    let loyalty = Component::Service(LOYALTY.name);
    let settings = world.settings(loyalty).await;
    world.keep(LOYALTY.name, loyalty, program_path("loyalty"), &[], settings);

    let fraud = Component::Service(FRAUD_CHECK.name);
    let database = make_fraud_check_role(&world.shop, &own.postgres).await;
    let broker = world.credentials.broker(&world.shop, fraud);
    let mut settings = world.settings_with(fraud, &database, &broker).await;
    // Its client accepts only one address.
    let first_node = |(name, value): &mut (String, String)| {
        if name == "AMQP_URL" {
            value.truncate(value.find(',').unwrap_or(value.len()));
        }
    };
    settings.iter_mut().for_each(first_node);
    settings.push(("FRAUD_LIMIT".to_owned(), FRAUD_LIMIT.to_string()));
    let (python, program) = fraud_check();
    world.keep(FRAUD_CHECK.name, fraud, python, &[&program], settings);
}
