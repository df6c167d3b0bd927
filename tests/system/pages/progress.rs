//! What an order's page shows while the order moves, and while it does not.

use orderflow_tests::{DECLINED, Page, Shop, VISA, Visitor, until};

use super::buy;

fn named(steps: &[(&str, &str)]) -> Vec<(String, String)> {
    steps.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect()
}

/// Returns whether a browser without JavaScript reloads the page automatically.
fn refreshes(page: &Page) -> bool {
    page.text.contains("<noscript><meta http-equiv=\"refresh\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_shown_once_it_has_happened() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let mut visitor = Visitor::new(&web);
    let path = buy(&mut visitor, VISA).await;
    let pending = visitor.get(&path).await;
    let expected = [
        ("Order received", "done"),
        ("Payment", "now"),
        ("Set aside for you", "next"),
        ("Handed to the carrier", "next"),
    ];
    assert_eq!(pending.steps(), named(&expected));
    assert_eq!(pending.element("headline"), "We are taking your payment");
    assert!(refreshes(&pending) && pending.text.contains("id=\"cancel\""), "{pending:?}");
    // Slow readers and users of screen readers can stop the reloads.
    assert!(pending.text.contains(&format!("<a href=\"{path}?still\">")), "{pending:?}");
    let still = visitor.get(&format!("{path}?still")).await;
    assert!(!refreshes(&still) && still.text.contains(&format!("<a href=\"{path}\">")), "{still:?}");
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 1).await;
    let shipped = visitor.get(&path).await;
    let expected = [
        ("Order received", "done"),
        ("Paid", "done"),
        ("Set aside for you", "done"),
        ("Handed to the carrier", "done"),
    ];
    assert_eq!(shipped.steps(), named(&expected));
    assert_eq!(
        (shipped.element("headline").as_str(), shipped.element("estimate").as_str()),
        ("Your parcel is with the carrier", "")
    );
    assert!(!refreshes(&shipped) && !shipped.text.contains("id=\"cancel\""), "{shipped:?}");
    // The fragment that the script loads shows the same.
    let part = visitor.get(&format!("{path}/progress")).await;
    assert_eq!(part.steps(), shipped.steps());
    assert!(part.text.len() < shipped.text.len() && !part.text.contains("<html"));
    let declined = buy(&mut visitor, DECLINED).await;
    shop.until_orders("payment_failed", 1).await;
    let page = visitor.get(&declined).await;
    assert_eq!(page.steps(), named(&[("Order received", "done"), ("Card declined", "failed")]));
    shop.until_quiet().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_by_its_button_without_a_script() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let mut visitor = Visitor::new(&web);
    let path = buy(&mut visitor, VISA).await;
    let asked = visitor.post(&format!("{path}/cancel"), &[]).await;
    assert_eq!((asked.status.as_u16(), asked.header("location")), (303, path.as_str()));
    let page = visitor.get(&path).await;
    assert_eq!(page.element("headline"), "We are checking whether it can still be cancelled");
    assert!(!page.text.contains("id=\"cancel\""), "a cancel needs only one request");
    // Start shipping's judgement of cancels first, or the parcel may ship before the request is handled.
    let judging = ["shipping.order-cancel-requested", "order.*"];
    shop.start_worker(&judging).await;
    shop.until_orders("cancelling", 1).await;
    shop.start_worker(&[]).await;
    shop.until_orders("cancelled", 1).await;
    let page = visitor.get(&path).await;
    assert_eq!(page.element("headline"), "Your order is cancelled");
    let shipped = buy(&mut visitor, VISA).await;
    shop.until_orders("shipped", 1).await;
    // Too late: the page shows that the parcel has shipped.
    let asked = visitor.post(&format!("{shipped}/cancel"), &[]).await;
    assert_eq!((asked.status.as_u16(), asked.header("location")), (303, shipped.as_str()));
    assert_eq!(visitor.get(&shipped).await.element("headline"), "Your parcel is with the carrier");
    shop.until_quiet().await;
    shop.close().await;
}

/// Waits for an estimate that satisfies `wanted` and returns it.
async fn until_estimate(visitor: &mut Visitor, path: &str, wanted: impl Fn(&str) -> bool) -> String {
    let mut found = String::new();
    until("the page shows the expected estimate", async || {
        found = visitor.get(path).await.element("estimate");
        if wanted(&found) { Ok(()) } else { Err(found.clone()) }
    })
    .await;
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn estimate_shows_the_usual_time_and_a_stalled_step() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    buy(&mut visitor, VISA).await;
    shop.until_orders("shipped", 1).await;
    let worker = shop.workers().pop().expect("it runs");
    worker.stop().await;
    let path = buy(&mut visitor, VISA).await;
    until_estimate(&mut visitor, &path, |text| {
        text.starts_with("Usually ") && text.contains("one of our steps is paused at the moment")
    })
    .await;
    // Only the shipping step has no worker: the order gets as far as that, and the page says that it waits.
    shop.start_worker_without(&["shipping.*"], &[]).await;
    shop.until_orders("reserved", 1).await;
    until_estimate(&mut visitor, &path, |text| text.contains("is paused")).await;
    shop.start_worker(&["shipping.*"]).await;
    shop.until_orders("shipped", 2).await;
    shop.until_quiet().await;
    shop.close().await;
}
