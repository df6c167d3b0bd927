//! Less usual orders: declined, refused, cancelled, submitted twice, opened on another device, without scripts.

use std::fs;

use mailparse::MailHeaderMap as _;
use orderflow_tests::{Browser, DESKTOP, PHONE, Shop, until};

use super::{BATTERY, IS_DECLINED, MUG, WORKS, buy, fill_in, fill_in_address, place, start_web, steps, until_order};

async fn orders(shop: &Shop) -> i64 {
    shop.number("SELECT count(*) FROM orders.orders").await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the main path is tested every day"]
async fn declined_customer_orders_again_with_another_card() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    shop.start_worker(&[]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    buy(&browser, MUG, IS_DECLINED).await;
    browser.until_text("Your card was declined; nothing was charged").await;
    browser.axe().await;
    let declined = browser.url().await;
    browser.click("link", "Try another card").await;
    browser.until_text("Everything is in your cart again").await;
    browser.until_text("14.99").await;
    browser.axe().await;
    fill_in_address(&browser).await;
    browser.click("radio", WORKS).await;
    place(&browser).await;
    browser.until_text("Your parcel is with the carrier").await;
    assert_ne!(browser.url().await, declined);
    let replacing =
        "SELECT count(*) FROM messaging.event_log WHERE event = 'order.created' AND data->>'replaces' IS NOT NULL";
    assert_eq!(shop.number(replacing).await, 1, "the new order names the one that it replaces");
    browser.no_errors().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the main path is tested every day"]
async fn customer_refused_by_the_carrier_sees_the_refund() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    shop.start_worker(&[]).await;
    let browser = Browser::open(&web.root, PHONE).await;
    buy(&browser, BATTERY, WORKS).await;
    browser.until_text("Your order is cancelled").await;
    let expected = [
        "Done: Order received",
        "Done: Paid",
        "Done: Set aside for you",
        "Failed: Refused by the carrier",
        "Done: Back on the shelf",
        "Done: Money returned",
        "Done: Order cancelled",
    ];
    assert_eq!(steps(&browser).await, expected);
    browser.axe().await;
    browser.no_errors().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the main path is tested every day"]
async fn order_is_cancelled_while_it_can_be() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    buy(&browser, MUG, WORKS).await;
    browser.run("window.loaded = 'once'; document.getElementById('cancel').dataset.same = 'yes'").await;
    let mut asked = 0;
    // The page sends the second request after it has shown the first answer.
    until("the page has requested its progress twice", async || {
        asked += browser.requests().await.iter().filter(|url| url.ends_with("/progress")).count();
        if asked >= 2 { Ok(()) } else { Err(asked) }
    })
    .await;
    // A click on a button that is replaced at that moment would be lost.
    assert_eq!(browser.run("return document.getElementById('cancel').dataset.same").await, "yes");
    browser.click("button", "Cancel this order").await;
    browser.until_text("We are checking whether it can still be cancelled").await;
    assert!(!browser.has("button", "Cancel this order").await, "the button disappears after one click");
    browser.axe().await;
    shop.start_worker(&[]).await;
    browser.until_texts(&["Your order is cancelled", "Your parcel is with the carrier"]).await;
    shop.until_settled().await;
    let shipped = shop.number("SELECT count(*) FROM orders.orders WHERE status = 'shipped'").await;
    let end = if shipped == 1 { "Done: Handed to the carrier" } else { "Done: Order cancelled" };
    until("the page shows the outcome", async || {
        let steps = steps(&browser).await;
        if steps.iter().any(|step| step == end) { Ok(()) } else { Err(steps) }
    })
    .await;
    assert_eq!(browser.run("return window.loaded").await, "once");
    browser.no_errors().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the main path is tested every day"]
async fn double_click_places_one_order() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    fill_in(&browser, MUG, WORKS).await;
    browser.click_twice("button", "Place order").await;
    until_order(&browser).await;
    // Once a later order is answered, a request of the second click has been answered too.
    web.order("MUG-BLUE", 1, orderflow_tests::VISA).await;
    assert_eq!(orders(&shop).await, 2, "one by the browser and one by the API");
    shop.start_worker(&[]).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the main path is tested every day"]
async fn link_in_the_mail_opens_the_order_on_another_device_and_its_address_alone_does_not() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    shop.start_worker_with(&[], &[("PUBLIC_URL", &web.root)]).await;
    let desktop = Browser::open(&web.root, DESKTOP).await;
    buy(&desktop, MUG, WORKS).await;
    shop.until_quiet().await;
    let mail = fs::read_dir(shop.mail_directory()).expect("mails").flatten().next().expect("a mail");
    let content = fs::read(mail.path()).expect("it can be read");
    let mail = mailparse::parse_mail(&content).expect("it is a mail");
    let subject = mail.headers.get_first_value("Subject");
    let text = mail.subparts[0].get_body().expect("the text form");
    let link = text.split_whitespace().find(|word| word.starts_with(&web.root)).expect("a link");

    let phone = Browser::open(link, PHONE).await;
    phone.until_text("Your parcel is with the carrier").await;
    assert_eq!(phone.url().await, desktop.url().await, "{subject:?}: the token is no longer in the address");
    phone.axe().await;
    phone.no_errors().await;
    let stranger = Browser::open(&desktop.url().await, PHONE).await;
    stranger.until_text("We cannot find this order").await;
    assert!(!stranger.text().await.contains(MUG));
    stranger.axe().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the main path is tested every day"]
async fn customers_buy_follow_and_cancel_without_scripts() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, PHONE.without_scripts()).await;
    assert!(!browser.has("button", "One more").await, "controls that need a script are not offered");
    browser.fill(&format!("Quantity of {MUG}"), "2").await;
    browser.click("button", "Place order").await;
    browser.until_text("Enter your name.").await;
    let refused = browser.errors().await;
    assert!(refused.iter().all(|error| error.contains("/checkout") && error.contains("422")), "{refused:?}");
    fill_in_address(&browser).await;
    place(&browser).await;
    browser.until_text("29.98").await;
    shop.start_worker(&[]).await;
    browser.until_text("Your parcel is with the carrier").await;

    browser.go_to(&web.root).await;
    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
    browser.fill(&format!("Quantity of {MUG}"), "1").await;
    fill_in_address(&browser).await;
    // Without a script the total has not been shown yet, and no customer is charged a total that was not shown.
    browser.click("button", "Place order").await;
    browser.until_text("Your order costs 14.99 EUR.").await;
    let refused = browser.errors().await;
    assert!(refused.iter().all(|error| error.contains("/checkout") && error.contains("422")), "{refused:?}");
    place(&browser).await;
    browser.click("button", "Cancel this order").await;
    browser.until_text("We are checking whether it can still be cancelled").await;
    shop.start_worker(&[]).await;
    browser.until_texts(&["Your order is cancelled", "Your parcel is with the carrier"]).await;
    browser.no_errors().await;
    shop.close().await;
}
