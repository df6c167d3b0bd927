//! The shop under host names other than its own, and under one that browsers trust less.

use orderflow_tests::{Browser, DESKTOP, Shop, own::free_address};

use super::{MUG, WORKS, buy, fill_in_address, place, start_web, start_web_at};

/// The shop's cookies and checks depend on its own address: under another name of the same machine, orders could not be
/// followed or cancelled. So the page's script redirects the browser there. If the own address may be unreachable, the
/// page shows a notice instead.
#[tokio::test(flavor = "multi_thread")]
async fn other_host_names_lead_to_the_shops_own_address_or_show_it() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let own = format!("{}/", web.root);
    let browser = Browser::open(&web.root.replace("127.0.0.1", "localhost"), DESKTOP).await;
    browser.until_url("the shop's own address", |url| url == own).await;
    buy(&browser, MUG, WORKS).await;
    assert!(browser.has("button", "Cancel this order").await);
    assert!(!browser.text().await.contains("not the shop’s own address"));
    browser.no_errors().await;

    // The own address is another port, on which nothing listens: the script does not redirect there.
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

/// Over plain HTTP from another machine, browsers drop `Secure` cookies and do not send where a form comes from. If
/// `PLAINTEXT_HOSTS` names the host, customers can still see and cancel their orders.
#[tokio::test(flavor = "multi_thread")]
async fn orders_are_followed_and_cancelled_in_plaintext_at_a_named_host() {
    let mut shop = Shop::open().await;
    let free = free_address();
    let root = format!("http://shop.lan:{}", free.port());
    let settings = [("PUBLIC_URL", root.as_str()), ("PLAINTEXT_HOSTS", "shop.lan")];
    start_web_at(&mut shop, &free.to_string(), &settings).await;
    for screen in [DESKTOP, DESKTOP.without_scripts()] {
        let browser = Browser::open(&root, screen).await;
        browser.fill(&format!("Quantity of {MUG}"), "1").await;
        fill_in_address(&browser).await;
        if !screen.scripts {
            // The total has not been shown yet, so the first press shows it and asks to confirm.
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
