//! `orderflow doctor` finds missing deliveries, and does not mistake a backlog for them.

use orderflow_tests::{Ended, Shop, run};

use crate::{
    commands::{ended, with},
    doctor::{doctor, scrubbed},
    republish::{EMAIL, topology_apply, without_three_first_mails},
    why::FILTERS,
};

/// Returns settings with which every undelivered event counts as missing.
fn impatient(shop: &Shop) -> Vec<(String, String)> {
    with(shop.operator_settings(), &[("RECONCILE_AFTER", "1ms")])
}

async fn impatient_doctor(shop: &Shop) -> Ended {
    run("orderflow", &["doctor"], &impatient(shop)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_deliveries_are_found_and_the_printed_remedy_works() {
    let (mut shop, probe) = without_three_first_mails().await;
    let backlog = impatient_doctor(&shop).await;
    ended(
        &backlog,
        1,
        &["1 finding:", "Nobody consumes email.order-created (3 messages)", "where messages wait: email."],
    );

    probe.delete_queue(&EMAIL.queue()).await;
    topology_apply(&shop).await;
    let lost = impatient_doctor(&shop).await;
    ended(&lost, 1, &["3 deliveries are missing", "3 of email.order-created."]);
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("missing", scrubbed(&lost.out)) });
    ended(&doctor(&shop).await, 1, &["1 finding:", "Nobody consumes"]);
    // Trial C9: the command reported "Nothing is missing." about events that it had not checked.
    let young = run("orderflow", &["republish", "--missing", "--yes"], &shop.operator_settings()).await;
    let says = ["Nothing is missing.", "of the last 5m (RECONCILE_AFTER): 3 deliveries are not applied yet"];
    ended(&young, 0, &says);
    let young = run("orderflow", &["republish", "--missing", "--yes", "--json"], &shop.operator_settings()).await;
    let report: serde_json::Value = serde_json::from_str(&young.out).expect("JSON");
    assert_eq!((&report["younger"], &report["younger_than_seconds"]), (&3.into(), &300.0.into()), "{report}");
    let text = lost.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let remedy = text.split('`').find(|part| part.starts_with("orderflow republish")).expect("a command");
    let remedy: Vec<&str> = remedy.split(' ').chain(["--yes"]).collect();
    ended(&run(remedy[0], &remedy[1..], &impatient(&shop)).await, 0, &["3 sent."]);
    probe.until_waiting(&EMAIL.queue(), 3).await;

    shop.start_worker(&["email.order-*"]).await;
    shop.until_quiet().await;
    ended(&impatient_doctor(&shop).await, 0, &["Nothing is wrong.", "none in the last 24 h"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_how_far_it_looked_when_too_much_is_missing() {
    let shop = Shop::open().await;
    shop.execute(
        "INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, data)
         SELECT gen_random_uuid(), 1, gen_random_uuid(), 'order.created', '/orderflow/web',
                now() - number * interval '1 second', gen_random_uuid(), '{}'
         FROM generate_series(1, 10000) AS number",
    )
    .await;
    let found = doctor(&shop).await;
    ended(&found, 1, &["At least 5", "deliveries are missing", "searched only up to"]);
}
