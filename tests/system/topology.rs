//! Source, `rabbitmq/definitions.json` and the live broker say the same.

use std::{fs, path::PathBuf};

use orderflow::{
    broker::{Management, Topology, names},
    config::{RetryDelays, Source},
    ops::topology::EXPORTED_VHOST,
};
use orderflow_tests::Shop;
use serde_json::Value;

fn defaults() -> RetryDelays {
    RetryDelays::read(&Source::default()).expect("there is a default")
}

#[test]
fn the_definitions_file_is_what_the_source_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rabbitmq/definitions.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(path).expect("it is there")).expect("it is JSON");
    let source = Topology::new(defaults().as_slice()).as_boot_file(EXPORTED_VHOST).expect("it has a JSON form");
    assert_eq!(file, source, "run `orderflow topology export > rabbitmq/definitions.json`");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_broker_is_what_the_source_says_and_applying_again_changes_nothing() {
    let shop = Shop::open().await;
    let management = Management::new(shop.admin.clone()).expect("a client");
    let wanted = Topology::new(shop.admin.retry_delays.as_slice());
    management.apply(&wanted).await.expect("it can be applied again");
    let live = management.live().await.expect("it can be read");
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    assert_eq!(wanted.missing_from(&live), Vec::<String>::new());
    assert_eq!(live.missing_from(&wanted), Vec::<String>::new(), "the broker has something that the source does not");
    let queues = |topology: &Topology| sorted(topology.queues.iter().map(|queue| queue.name.clone()).collect());
    assert_eq!(queues(&live), queues(&wanted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_no_queue_is_kept_and_not_dropped() {
    let shop = Shop::open().await;
    let probe = shop.probe().await;
    probe.publish(names::EVENTS, "order.teleported", b"{}").await;
    assert_eq!(probe.waiting(names::UNROUTED).await, 1);
    // The way back from a retry tier for a queue that was deleted meanwhile.
    probe.publish(names::RETURN, "gone.order-created", b"{}").await;
    probe.publish(names::DEAD_LETTERS, "gone.order-created", b"{}").await;
    assert_eq!(probe.waiting(names::UNROUTED).await, 3);
}
