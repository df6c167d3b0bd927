//! Source, `rabbitmq/definitions.json` and the live broker say the same.

use std::{fs, path::PathBuf};

use orderflow::{
    broker::{BrokerCheck, Connector, Management, NotReady, Topology, names},
    config::{BrokerConfig, RetryDelays, Source},
    ops::topology::EXPORTED_VHOST,
};
use orderflow_tests::Shop;
use serde_json::Value;
use url::Url;

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

#[tokio::test(flavor = "multi_thread")]
async fn of_several_nodes_one_that_answers_is_asked() {
    let shop = Shop::open().await;
    let real = shop.broker_url("orderflow-worker");
    let mut away = real.clone();
    // Nobody listens on the port of "tcpmux".
    away.set_port(Some(1)).expect("it has a port");
    let check = |urls: &[&Url]| {
        let urls = urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let source: Source = [("AMQP_URL".to_owned(), urls)].into_iter().collect();
        let connector = Connector::new(&BrokerConfig::read(&source).expect("they are URLs"), "a test");
        BrokerCheck::new(&connector).expect("a pool")
    };
    for order in [[&away, &real], [&real, &away]] {
        let check = check(&order);
        for _ in 0..2 {
            assert_eq!(check.exchange_exists().await, Ok(()));
            assert_eq!(check.queue_exists("nobody.nothing").await, Err(NotReady::Missing("nobody.nothing".to_owned())));
        }
    }
    let answer = check(&[&away, &away]).exchange_exists().await;
    assert!(matches!(answer, Err(NotReady::Unreachable(_))), "{answer:?}");
}
