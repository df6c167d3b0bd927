//! The three orders of `make demo` (scripts/demo_orders.py), for tests of the whole flow in one installation.

use orderflow_tests::{DECLINED, Shop, VISA, Web};

/// Product, card, the status in which the order ends, and the kind of its last mail.
const PLAN: [(&str, &str, &str, &str); 3] = [
    ("MUG-BLUE", VISA, "shipped", "shipped"),
    ("MUG-BLUE", DECLINED, "payment_failed", "declined"),
    // The simulated carrier refuses it: stock is released and the charge refunded.
    ("BATTERY-BULK", VISA, "cancelled", "cancelled"),
];

/// Places the demo's orders and waits until each has ended as planned. Returns the Message-IDs of the mails that their
/// customers get, sorted.
pub async fn place_demo_orders(shop: &Shop, web: &Web) -> Vec<String> {
    let mut placed = Vec::new();
    for (sku, card, ..) in PLAN {
        placed.push(web.order(sku, 2, card).await);
    }
    let mut mails = Vec::new();
    for (order, (_, _, status, last)) in placed.iter().zip(PLAN) {
        web.until_status(order, status).await;
        mails.extend(["received", last].map(|kind| format!("<{}.{kind}@example.org>", order.id)));
    }
    shop.until_quiet().await;
    mails.sort_unstable();
    mails
}

/// Returns the Message-IDs of these mails, sorted.
pub fn message_ids(mails: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let id = |mail: Vec<u8>| {
        let text = String::from_utf8(mail).expect("our mails are ASCII");
        let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
        id.unwrap_or_else(|| panic!("no Message-ID in {text}")).to_owned()
    };
    let mut ids: Vec<String> = mails.into_iter().map(id).collect();
    ids.sort_unstable();
    ids
}
