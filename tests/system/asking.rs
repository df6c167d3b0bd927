//! On a terminal, commands that change something ask for confirmation first, and accept only a yes.

use orderflow_tests::{Ended, Shop, Typed, run_on_terminal};

use crate::{
    commands::{ended, with},
    dead_letters::{PAYMENT, repair_payments, with_dead_orders},
    republish::{EMAIL, topology_apply, without_three_first_mails},
};

/// Answers that are not a yes: a no, the return key alone, something else, and the end of input.
const NO: [Typed; 4] = [Typed::Line("n"), Typed::Line(""), Typed::Line("yess"), Typed::End];

/// Types this when the command asks, with `RECONCILE_AFTER` so short that every undelivered event counts as missing.
async fn type_at(shop: &Shop, command: &str, question: &str, typed: Typed<'_>) -> Ended {
    let settings = with(shop.operator_settings(), &[("RECONCILE_AFTER", "1ms")]);
    let arguments: Vec<&str> = command.split(' ').collect();
    run_on_terminal("orderflow", &arguments, &settings, &format!("{question} [y/N] "), typed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_discarded_or_replayed_only_after_a_yes() {
    let (shop, _, _, probe) = with_dead_orders(2).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kept.jsonl");
    let discard = format!("dlq discard --all --limit 1 --file {}", file.display());
    for typed in NO {
        let refused = type_at(&shop, &discard, "Discard 1 dead letter?", typed).await;
        ended(&refused, 1, &["Nothing was discarded."]);
        let refused = type_at(&shop, "dlq replay --all", "Replay 2 dead letters?", typed).await;
        ended(&refused, 1, &["Nothing was sent."]);
        probe.until_dead(PAYMENT, 2).await;
    }
    assert!(!file.exists());
    assert_eq!(shop.number("SELECT count(*) FROM messaging.dead_letters WHERE left_at IS NOT NULL").await, 0);

    repair_payments(&shop).await;
    let done = type_at(&shop, &discard, "Discard 1 dead letter?", Typed::Line("y")).await;
    ended(&done, 0, &["1 dead letter discarded"]);
    assert!(file.exists());
    probe.until_dead(PAYMENT, 1).await;
    let done = type_at(&shop, "dlq replay --all", "Replay 1 dead letter?", Typed::Line("YES")).await;
    ended(&done, 0, &["1 message sent: 1 applied."]);
    shop.until_orders("shipped", 1).await;
    shop.close_with_dead_letters(&[(PAYMENT, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_deliveries_are_republished_only_after_a_yes() {
    let (mut shop, probe) = without_three_first_mails().await;
    probe.delete_queue(&EMAIL.queue()).await;
    topology_apply(&shop).await;
    for typed in NO {
        let refused = type_at(&shop, "republish --missing", "Republish 3?", typed).await;
        ended(&refused, 1, &["email.order-created: 3 missing", "Nothing was sent."]);
        assert_eq!(probe.waiting(&EMAIL.queue()).await, 0, "{typed:?}");
    }
    assert_eq!(shop.number("SELECT count(*) FROM messaging.resent").await, 0);
    ended(&type_at(&shop, "republish --missing", "Republish 3?", Typed::Line("y")).await, 0, &["3 sent."]);
    assert_eq!(probe.waiting(&EMAIL.queue()).await, 3);
    shop.start_worker(&[&EMAIL.queue()]).await;
    shop.until_quiet().await;
    shop.close().await;
}
