//! The usual order: bought, and followed until the parcel is with the carrier.

use std::time::Duration;

use orderflow_tests::{Browser, DESKTOP, PHONE, Shop, add_products};

use super::{MUG, WORKS, buy, fill_in_address, start_web, steps};

/// The maximum size of a page with everything it loads, in bytes.
const LIGHT: u64 = 100_000;

/// The maximum time to the first contentful paint, over loopback.
const QUICK: Duration = Duration::from_millis(300);

/// Checks that the page at this address is small, and fast in at least one of eight loads: other work on the machine
/// can slow down some.
async fn light_and_quick(address: &str) {
    // A first visit, with an empty cache.
    let browser = Browser::open(address, PHONE).await;
    let weight = browser.weight().await;
    assert!(weight.bytes < LIGHT, "{address}: {weight:?}");
    let mut paints = vec![browser.first_paint().await];
    while paints.iter().all(|paint| *paint >= QUICK) {
        assert!(paints.len() < 8, "{address} is painted after {paints:?}");
        browser.refresh().await;
        paints.push(browser.first_paint().await);
    }
    println!("{address}: {weight:?}, first painted after {paints:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_buy_and_see_their_order_proceed_without_a_reload() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    browser.axe().await;
    buy(&browser, MUG, WORKS).await;
    assert_eq!(
        steps(&browser).await,
        [
            "Done: Order received",
            "Now: Payment",
            "Still to come: Set aside for you",
            "Still to come: Handed to the carrier"
        ]
    );
    browser.axe().await;
    // A reload would lose this variable.
    browser.run("window.loaded = 'once'").await;

    shop.start_worker(&["payment.*", "order.*", "email.*"]).await;
    browser.until_text("We are setting your things aside").await;
    shop.start_worker(&["inventory.*", "shipping.*"]).await;
    browser.until_text("Your parcel is with the carrier").await;
    assert_eq!(
        steps(&browser).await,
        ["Done: Order received", "Done: Paid", "Done: Set aside for you", "Done: Handed to the carrier"]
    );
    assert!(!browser.has("button", "Cancel this order").await, "it is too late");
    assert_eq!(browser.run("return window.loaded").await, "once");
    assert!(!browser.url().await.contains("t="), "the address does not open the order for others");
    browser.axe().await;
    browser.no_errors().await;
    let host = format!("{}/", web.root);
    let others = browser.requests().await.into_iter().filter(|url| !url.starts_with(&host));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new(), "nothing is loaded from elsewhere");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shop_page_is_small_and_painted_quickly() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    light_and_quick(&web.root).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a browser of its own for each page"]
async fn order_page_is_small_and_painted_quickly_on_another_device() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let order = web.order("MUG-BLUE", 1, orderflow_tests::VISA).await;
    light_and_quick(&format!("{}/track/{}?t={}", web.root, order.id, order.token)).await;
    shop.start_worker(&[]).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the main path is tested every day"]
async fn incomplete_form_names_its_errors_and_keeps_its_content() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, PHONE).await;
    browser.click("button", "Place order").await;
    browser.until_text("Please check your order").await;
    for mistake in ["Your cart is empty: choose at least one thing.", "Enter your name.", "Choose a country."] {
        browser.until_text(mistake).await;
    }
    browser.axe().await;
    browser.click("button", &format!("One more: {MUG}")).await;
    fill_in_address(&browser).await;
    browser.fill("E-mail", "nobody").await;
    browser.click("button", "Place order").await;
    browser.until_text("Enter an e-mail address such as ada@example.com.").await;
    browser.click("link", "Enter an e-mail address").await;
    let focused = browser.run("return document.activeElement.labels[0].textContent").await;
    assert_eq!(focused.as_str().map(str::trim), Some("E-mail"), "the link focuses the field");
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 0);
    browser.refresh().await;
    browser.until_text("14.99").await;
    fill_in_address(&browser).await;
    super::place(&browser).await;
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 1);
    browser.no_errors().await;
    shop.start_worker(&[]).await;
    shop.close().await;
}

/// The form had a field for each product, chosen or not, and was too large to be sent.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_thousand_products_is_found_kept_and_bought_at_the_shown_price() {
    let mut shop = Shop::open().await;
    add_products(&shop, 3_000).await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    browser.until_text("1 to 24 of 3012 products").await;
    browser.axe().await;
    browser.click("button", &format!("One more: {MUG}")).await;
    browser.fill("Find a product", "number 2999").await;
    browser.click("button", "Search").await;
    browser.until_text("1 product").await;
    browser.click("button", "One more: Thing number 2999").await;
    let sent = "return [...new FormData(document.getElementById('shop')).keys()].filter((name) => name.startsWith('quantity-')).sort()";
    let chosen = serde_json::json!(["quantity-MUG-BLUE", "quantity-THING-2999"]);
    assert_eq!(browser.run(sent).await, chosen, "only what was chosen is sent");
    browser.click("button", "Show all products").await;
    browser.until_text("1 to 24 of 3012 products").await;
    browser.click("button", "Next").await;
    browser.until_text("25 to 48 of 3012 products").await;
    assert_eq!(browser.run(sent).await, chosen);
    browser.axe().await;
    // After a reload the cart is restored, and its products outside the first page are fetched.
    browser.refresh().await;
    browser.until_text("1 to 24 of 3012 products").await;
    browser
        .until_true("the cart is whole", "return document.getElementById('cart-amount').textContent === '45.98 EUR'")
        .await;
    assert_eq!(browser.run(sent).await, chosen);
    fill_in_address(&browser).await;
    shop.execute("UPDATE catalogue.products SET price = 9999 WHERE sku = 'MUG-BLUE'").await;
    orderflow_tests::until("the front end has the new price", async || {
        let products = web.get("/products", &[]).await.body.to_string();
        if products.contains("9999") { Ok(()) } else { Err("not yet") }
    })
    .await;
    browser.click("button", "Place order").await;
    browser.until_text("The total was 45.98 EUR and is now 130.98 EUR.").await;
    browser.axe().await;
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 0);
    // The browser notes that the answer was 422.
    browser.errors().await;
    super::place(&browser).await;
    assert_eq!(shop.number("SELECT total FROM orders.orders").await, 13_098);
    browser.no_errors().await;
    shop.start_worker(&[]).await;
    shop.close().await;
}
