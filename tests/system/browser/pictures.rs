//! Screenshots of each page for docs/PAGES.md: light and dark, on a desktop and on a phone, without axe-core
//! violations.

use orderflow_tests::{Browser, DECLINED, DESKTOP, Order, PHONE, Screen, Shop, VISA, Web};

use super::{MUG, fill_in_address, start_web};

const SCREENS: [(Screen, &str); 4] = [
    (DESKTOP, ""),
    (Screen { dark: true, ..DESKTOP }, "-dark"),
    (PHONE, "-phone"),
    (Screen { dark: true, ..PHONE }, "-phone-dark"),
];

/// Checks the current page and takes a screenshot of it, on every screen.
pub async fn show(browser: &Browser, name: &str) {
    for (screen, suffix) in SCREENS {
        browser.set(screen).await;
        browser.axe().await;
        let fits =
            browser.run("const page = document.documentElement; return page.scrollWidth <= page.clientWidth").await;
        assert_eq!(fits, true, "{name}{suffix}: nothing is wider than the screen");
        browser.run("scrollTo(0, 0)").await;
        browser.picture(&format!("page-{name}{suffix}")).await;
    }
    browser.set(DESKTOP).await;
}

async fn open(browser: &Browser, web: &Web, order: &Order) {
    browser.go_to(&format!("{}/track/{}?t={}", web.root, order.id, order.token)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "many pictures"]
async fn shop_in_pictures() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    show(&browser, "shop").await;
    browser.click("button", "Place order").await;
    browser.until_text("Please check your order").await;
    show(&browser, "shop-mistakes").await;
    browser.refresh().await;
    browser.click("button", &format!("One more: {MUG}")).await;
    fill_in_address(&browser).await;
    show(&browser, "shop-filled-in").await;
    browser.no_errors().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "many pictures"]
async fn orders_in_pictures() {
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let browser = Browser::open(&web.root, DESKTOP).await;
    browser.go_to(&format!("{}/track/{}", web.root, uuid::Uuid::now_v7())).await;
    show(&browser, "not-found").await;
    browser.errors().await;
    shop.start_worker_without(&["inventory.*", "shipping.*"], &[]).await;
    let moving = web.order("MUG-BLUE", 2, VISA).await;
    web.until_status(&moving, "paid").await;
    open(&browser, &web, &moving).await;
    browser.until_text("We are setting your things aside").await;
    show(&browser, "order-moving").await;
    shop.start_worker(&["inventory.*", "shipping.*"]).await;
    browser.until_text("Your parcel is with the carrier").await;
    show(&browser, "order-shipped").await;
    for (name, sku, card, text) in [
        ("order-declined", "MUG-BLUE", DECLINED, "Your card was declined"),
        ("order-cancelled", "BATTERY-BULK", VISA, "Your order is cancelled"),
    ] {
        let order = web.order(sku, 1, card).await;
        open(&browser, &web, &order).await;
        browser.until_text(text).await;
        show(&browser, name).await;
    }
    browser.no_errors().await;
    shop.close().await;
}
