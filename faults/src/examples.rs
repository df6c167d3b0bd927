//! The services in examples/, beside a run's workers: what a shop's own team or another one adds.

use orderflow_tests::{
    examples::{FRAUD_CHECK, LOYALTY, fraud_check, make_fraud_check_role},
    own::Own,
    program_path, run,
};

use crate::world::{Setup, Side, World};

/// Minor units from which on an order is suspicious: some orders of a run are, and some are not.
const FRAUD_LIMIT: &str = "3000";

/// What their rows have to be in the end: in words what would be wrong, and a query that counts how often it is.
pub const CHECKS: &[(&str, &str)] = &[
    (
        "a shipped order has not the points of its total, or an order that did not ship has some",
        "SELECT count(*) FROM orders.orders AS o FULL JOIN loyalty.bookings AS b ON b.order_id = o.id
         WHERE b.points IS DISTINCT FROM CASE WHEN o.status = 'shipped' THEN o.total / 100 END",
    ),
    (
        "points were not said once for each booking",
        "SELECT count(*) FROM loyalty.bookings AS b
         WHERE 1 <> (SELECT count(*) FROM messaging.event_log AS l
                     WHERE l.order_id = b.order_id AND l.event = 'loyalty.points-booked')",
    ),
    (
        "an order has no verdict, or a wrong one",
        "SELECT count(*) FROM orders.orders AS o FULL JOIN fraud_check.verdicts AS v ON v.order_id = o.id
         WHERE v.suspicious IS DISTINCT FROM (o.total >= 3000)",
    ),
];

/// Registers both and starts one process of each.
pub async fn start(world: &mut World, own: &Own, setup: Setup) {
    LOYALTY.register(&world.shop).await;
    FRAUD_CHECK.register(&world.shop).await;
    let (database, broker) = (world.shop.database_url(), LOYALTY.broker_url(&world.shop));
    let settings = world.settings(LOYALTY.name, Side::Workers, &database, &broker, own, setup).await;
    let migrated = run("loyalty", &["migrate"], &settings).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.err);
    world.keep(LOYALTY.name, program_path("loyalty"), &[], settings);

    let (database, broker) =
        (make_fraud_check_role(&world.shop, &own.postgres).await, FRAUD_CHECK.broker_url(&world.shop));
    let mut settings = world.settings(FRAUD_CHECK.name, Side::Workers, &database, &broker, own, setup).await;
    // The client that it uses takes one address only.
    let first_node = |(name, value): &mut (String, String)| {
        if name == "AMQP_URL" {
            value.truncate(value.find(',').unwrap_or(value.len()));
        }
    };
    settings.iter_mut().for_each(first_node);
    settings.push(("FRAUD_LIMIT".to_owned(), FRAUD_LIMIT.to_owned()));
    let (python, program) = fraud_check();
    world.keep(FRAUD_CHECK.name, python, &[&program], settings);
}
