//! The shop under names that are not its own, and under one that browsers trust less.

use orderflow_tests::{Browser, DESKTOP, Shop};

use super::{MUG, WORKS, buy, fill_in_address, place, start_web, start_web_at};

/// What a shop's cookies and checks go by is its own address: by another name of the same machine, nothing could be followed or
/// cancelled. So the browser is led there. Where that may lead nowhere, the page says so and stays.
#[tokio::test(flavor = "multi_thread")]
async fn by_another_name_people_are_led_to_the_shops_own_address_or_told_of_it() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let own = format!("{}/", web.root);
    let browser = Browser::open(&web.root.replace("127.0.0.1", "localhost"), DESKTOP).await;
    browser.until_url("the shop's own address", |url| url == own).await;
    buy(&browser, MUG, WORKS).await;
    assert!(browser.has("button", "Cancel this order").await);
    assert!(!browser.text().await.contains("not the shop’s own address"));
    browser.no_errors().await;

    // Its address is another port, where nothing is: nobody is led into the void.
    let elsewhere = shop.start_web().await;
    let browser = Browser::open(&elsewhere.root, DESKTOP).await;
    browser.until_text("This is not the shop’s own address").await;
    browser.until_text("http://127.0.0.1:8080").await;
    browser.axe().await;
    browser.no_errors().await;
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}

/// By plain HTTP from another machine browsers drop `Secure` cookies and say nothing of where a form comes from. Where the host is
/// named, customers still see what they have bought, and can cancel it.
#[tokio::test(flavor = "multi_thread")]
async fn in_clear_text_at_a_host_that_is_named_orders_can_be_followed_and_cancelled() {
    let mut shop = Shop::open().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let root = format!("http://shop.lan:{}", free.port());
    let settings = [("PUBLIC_URL", root.as_str()), ("PLAINTEXT_HOSTS", "shop.lan")];
    start_web_at(&mut shop, &free.to_string(), &settings).await;
    for screen in [DESKTOP, DESKTOP.without_scripts()] {
        let browser = Browser::open(&root, screen).await;
        browser.fill(&format!("Quantity of {MUG}"), "1").await;
        fill_in_address(&browser).await;
        if !screen.scripts {
            // Nothing has shown the total yet, so the first press shows it and asks.
            browser.click("button", "Place order").await;
            browser.until_text("Please check the total").await;
        }
        place(&browser).await;
        browser.click("button", "Cancel this order").await;
        browser.until_text("We are checking whether it can still be cancelled").await;
    }
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}
