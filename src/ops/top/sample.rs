//! A shop under load, for the tests of the screen.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_service::{
    config::Admission,
    store::{
        failures::RecentFailure,
        outbox::{Depth, Depths},
        pace::{Measured, Pace},
    },
};
use serde_json::json;

use super::{
    gather::{Said, View},
    model::Model,
};
use crate::{broker::QueueDepth, ops::queues::inspect::Known, services::roster, store::flow::OrderRates};

/// Returns the time of the sample.
pub fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_460_657, 0).expect("it is a time")
}

pub fn empty() -> Model {
    let limits = Admission { max_outbox_age: Duration::from_secs(900), max_outbox_rows: 200_000 };
    Model::new(limits, moment())
}

/// Payment cannot keep up, mail is paused with dead letters, one queue has no consumer, and the rest is quiet.
pub fn busy() -> Model {
    let mut model = empty();
    for step in 0..40_u32 {
        model.hear(Said::Broker(Ok(depths(step * step * 10))));
        model.tick(moment());
    }
    model.hear(Said::Database(Box::new(Ok(view()))));
    model
}

fn depths(waiting: u32) -> Vec<QueueDepth> {
    let one = |name: &str, ready: u32, held: u32, consumers: u32, rate: f64| -> QueueDepth {
        let stats = json!({ "publish_details": { "rate": rate, "avg_rate": rate } });
        serde_json::from_value(json!({
            "name": name, "messages_ready": ready, "messages_unacknowledged": held, "consumers": consumers,
            "message_stats": stats,
        }))
        .expect("it is as the API answers")
    };
    let work = roster().subscriptions().iter().map(|subscription| {
        let name = subscription.queue();
        match name.as_str() {
            "payment.order-created" => one(&name, waiting, 512, 1, 180.4),
            "email.order-created" => one(&name, 731, 1, 1, 180.4),
            "order.payment-completed" => one(&name, 3, 40, 2, 97.0),
            "order.payment-failed" => one(&name, 12, 0, 0, 0.05),
            _ => one(&name, 0, 0, 1, 0.0),
        }
    });
    let dead = roster().subscriptions().iter().map(|subscription| {
        let dead_letters = u32::from(subscription.queue() == "email.order-created") * 7;
        one(&subscription.dead_letter_queue(), dead_letters, 0, 0, 0.0)
    });
    work.chain(dead).collect()
}

fn view() -> View {
    let pace = |queue: &str, slots, events, failures, processing| Measured {
        worker: "@host 1 00000001".to_owned(),
        measured_at: moment(),
        pace: Pace {
            queue: queue.to_owned(),
            slots,
            in_hand: 0,
            events_per_second: events,
            failures_per_second: failures,
            processing_seconds: Some(processing),
            lag_seconds: Some(processing * 40.0),
        },
    };
    let paces = vec![
        pace("payment.order-created", 512, 96.2, 0.0, 5.32),
        pace("email.order-created", 0, 0.1, 0.1, 15.0),
        pace("order.payment-completed", 512, 97.1, 0.0, 0.021),
    ];
    let failure = |seconds: i64, attempt, reason: &str, again: Option<i64>| RecentFailure {
        subscription: "email.order-created".to_owned(),
        attempt,
        reason: reason.to_owned(),
        failed_at: moment() - TimeDelta::seconds(seconds),
        retry_at: again.map(|again| moment() + TimeDelta::seconds(again)),
    };
    let failures = vec![
        failure(2, 1, "the mail server is unavailable: connection refused", Some(8)),
        failure(13, 7, "the mail server said: 550 5.1.1 no such\r\n\u{1b}[31m user", None),
        failure(14, 2, "the mail server is unavailable: connection refused", Some(58)),
    ];
    View {
        known: Known { paces, retrying: HashMap::from([("email.order-created".to_owned(), 12)]), ..Known::default() },
        outbox: Some(Depths([("order.created".to_owned(), Depth { rows: 34, oldest_seconds: 0.21 })].into())),
        orders: OrderRates { accepted: 180.4, settled: 95.8 },
        failures,
    }
}
