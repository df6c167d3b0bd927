//! The documented form of every event, on which outside readers rely. A changed sample is a decision and needs a new
//! version.

use std::{fs, path::PathBuf};

use chrono::DateTime;
use orderflow_events::{
    Envelope, EventData, EventKind, InventoryRejected, InventoryReleased, InventoryReserved, NewEvent,
    OrderCancelRequested, OrderCancelled, OrderCreated, OrderedItem, PaymentCompleted, PaymentFailed, PaymentRefunded,
    PaymentVoided, Refunded, ShipmentCancelled, ShipmentCreated, ShipmentFailed, ShortItem,
};
use serde_json::Value;
use uuid::Uuid;

const ORDER: Uuid = Uuid::from_u128(0x0198_f1c2_7c00_7000_8000_0000_0000_0001);
const EVENT: Uuid = Uuid::from_u128(0x0198_f1c2_7c1e_7d30_9b8a_2f6d_1c0e_4a11);
const CAUSE: Uuid = Uuid::from_u128(0x0198_f1c2_7c10_7000_8000_0000_0000_0002);
const REQUEST: Uuid = Uuid::from_u128(0x0198_f1c2_7bff_7000_8000_0000_0000_0003);

/// Returns the file that documents this event type.
fn path(kind: EventKind) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/events").join(format!("{}.json", kind.cloud_type()))
}

/// Returns an example of the event type. The compiler demands an arm for every new type.
fn sample(kind: EventKind) -> Envelope<Value> {
    let item = OrderedItem { sku: "MUG-BLUE".to_owned(), quantity: 2, price: 1499 };
    match kind {
        EventKind::OrderCreated => envelope(
            1,
            &OrderCreated {
                number: "7H3K9QX2MD".to_owned(),
                total: 2998,
                currency: "EUR".to_owned(),
                items: vec![item],
                replaces: None,
            },
        ),
        EventKind::PaymentCompleted => envelope(
            2,
            &PaymentCompleted {
                payment_id: "pay_0198f1c27c107000800000000000000002".to_owned(),
                amount: 2998,
                currency: "EUR".to_owned(),
            },
        ),
        EventKind::PaymentFailed => envelope(2, &PaymentFailed { reason: "card_declined".to_owned() }),
        EventKind::InventoryReserved => envelope(3, &InventoryReserved { products: 1 }),
        EventKind::InventoryRejected => envelope(
            3,
            &InventoryRejected { short: vec![ShortItem { sku: "MUG-BLUE".to_owned(), wanted: 2, available: 1 }] },
        ),
        EventKind::ShipmentCreated => envelope(4, &ShipmentCreated { tracking_number: "SIM0123456789AB".to_owned() }),
        EventKind::ShipmentFailed => envelope(4, &ShipmentFailed { reason: "not_shippable".to_owned() }),
        EventKind::OrderCancelRequested => {
            let mut envelope = envelope(4, &OrderCancelRequested { by: "customer".to_owned() });
            envelope.causation_id = None;
            envelope
        }
        EventKind::ShipmentCancelled => envelope(5, &ShipmentCancelled {}),
        EventKind::InventoryReleased => envelope(6, &InventoryReleased { products: 1 }),
        EventKind::PaymentRefunded => envelope(
            7,
            &PaymentRefunded {
                payment_id: "pay_0198f1c27c107000800000000000000002".to_owned(),
                amount: 2998,
                currency: "EUR".to_owned(),
            },
        ),
        EventKind::PaymentVoided => envelope(7, &PaymentVoided {}),
        EventKind::OrderCancelled => envelope(
            8,
            &OrderCancelled {
                reason: OrderCancelled::REQUESTED.to_owned(),
                refunded: Some(Refunded { amount: 2998, currency: "EUR".to_owned() }),
            },
        ),
    }
}

fn envelope<T: EventData>(version: i32, data: &T) -> Envelope<Value> {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    let mut event = NewEvent::uncaused(ORDER, REQUEST, Some(trace), data).expect("it has a JSON form");
    event.causation_id = (version > 1).then_some(CAUSE);
    let mut envelope = event.into_envelope("/orderflow/example", version);
    envelope.id = EVENT;
    envelope.time = DateTime::from_timestamp_millis(1_795_467_845_123).expect("a time");
    envelope
}

#[test]
fn every_event_is_as_documented() {
    for kind in EventKind::ALL {
        let (path, sample) = (path(*kind), sample(*kind));
        let written = serde_json::to_string_pretty(&sample).expect("it has a JSON form") + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &written).expect("it can be written");
        }
        let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(golden, written, "{kind} changed: if this is intended, give its type a new version");
    }
}

#[test]
fn every_documented_event_reads_back_as_its_type() {
    fn reads<T: EventData>(kind: EventKind) {
        let body = fs::read(path(kind)).expect("it is documented");
        let read = Envelope::<T>::decode(&body).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((read.id, read.order_id), (EVENT, ORDER));
        let again: Value = serde_json::to_value(&read).expect("it has a JSON form");
        assert_eq!(
            again,
            serde_json::from_slice::<Value>(&body).expect("it is JSON"),
            "{kind} does not survive decoding and encoding"
        );
    }
    for kind in EventKind::ALL {
        match kind {
            EventKind::OrderCreated => reads::<OrderCreated>(*kind),
            EventKind::PaymentCompleted => reads::<PaymentCompleted>(*kind),
            EventKind::PaymentFailed => reads::<PaymentFailed>(*kind),
            EventKind::InventoryReserved => reads::<InventoryReserved>(*kind),
            EventKind::InventoryRejected => reads::<InventoryRejected>(*kind),
            EventKind::ShipmentCreated => reads::<ShipmentCreated>(*kind),
            EventKind::ShipmentFailed => reads::<ShipmentFailed>(*kind),
            EventKind::OrderCancelRequested => reads::<OrderCancelRequested>(*kind),
            EventKind::ShipmentCancelled => reads::<ShipmentCancelled>(*kind),
            EventKind::InventoryReleased => reads::<InventoryReleased>(*kind),
            EventKind::PaymentRefunded => reads::<PaymentRefunded>(*kind),
            EventKind::PaymentVoided => reads::<PaymentVoided>(*kind),
            EventKind::OrderCancelled => reads::<OrderCancelled>(*kind),
        }
    }
}

/// People read events in the management UI, which cuts a line of 505 bytes at the margin (trial G7). So events are
/// published indented, like the samples. Older programs published one line, and those events remain in queues and
/// logs.
#[test]
fn an_event_reads_back_however_it_is_indented() {
    for kind in EventKind::ALL {
        let sample = sample(*kind);
        let forms = [serde_json::to_string(&sample), serde_json::to_string_pretty(&sample)];
        let [one_line, indented] = forms.map(|form| form.expect("it has a JSON form"));
        assert!(!one_line.contains('\n') && indented.lines().all(|line| line.len() <= 100), "{indented}");
        for form in [one_line, indented] {
            let read: Envelope<Value> = serde_json::from_str(&form).expect("an event");
            assert_eq!(read, sample, "{kind}");
        }
    }
}

#[test]
fn event_of_another_type_fails_to_decode() {
    let body = fs::read(path(EventKind::PaymentFailed)).expect("it is documented");
    let error = Envelope::<PaymentCompleted>::decode(&body).expect_err("it is another event");
    assert!(error.to_string().contains("orders.payment-failed.v1"), "{error}");
}

#[test]
fn event_with_an_unknown_attribute_still_decodes() {
    let mut event: Value =
        serde_json::from_slice(&fs::read(path(EventKind::PaymentFailed)).expect("documented")).expect("JSON");
    event["data"]["network"] = "visa".into();
    event["tenant"] = "shop-1".into();
    assert!(Envelope::<PaymentFailed>::decode(event.to_string().as_bytes()).is_ok());
}
