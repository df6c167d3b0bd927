//! Who may open an order's page, and what its cookie permits.

use orderflow_tests::{Shop, VISA, Visitor};
use reqwest::Method;
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest as _};

use super::{PUBLIC_URL, buy};
use crate::bad_input::EVERYTHING;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_the_order_on_any_device_and_leaves_no_token_behind() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[("PUBLIC_URL", "https://shop.example"), EVERYTHING]).await;
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let mut visitor = Visitor::new(&web);
    let path = format!("/track/{}", order.id);
    let closed = visitor.get(&path).await;
    assert_eq!(closed.status, 404);
    let opened = visitor.get(&format!("{path}?t={}", order.token)).await;
    assert_eq!((opened.status.as_u16(), opened.header("location")), (303, path.as_str()));
    let expected =
        format!("__Host-order-{}={}; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax; Secure", order.id, order.token);
    assert_eq!(opened.header("set-cookie"), expected);
    let page = visitor.get(&path).await;
    assert_eq!((page.status.as_u16(), page.header("cache-control")), (200, "no-store"));
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert!(page.text.contains("Blue stoneware mug") && page.element("total") == "14.99 EUR", "{page:?}");
    assert!(!page.text.contains(&order.token), "the page contains the token");

    // Whatever is wrong, the answer is the same page.
    let other = web.order("MUG-BLUE", 1, VISA).await;
    for wrong in [
        format!("/track/{}", other.id),
        format!("/track/{}?t={}", other.id, order.token),
        format!("{path}?t=v1.1.aa"),
        format!("{path}?t="),
        "/track/x".to_owned(),
        format!("/track/{}", order.id.to_string().to_uppercase()),
        format!("/track/{}/progress", other.id),
    ] {
        let answer = visitor.get(&wrong).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (404, closed.text.as_str()), "{wrong}");
    }
    shop.until_settled().await;
    shop.until_quiet().await;
    let log = shop.webs()[0].log();
    assert!(log.iter().any(|line| line.contains("/track/{id}")), "requests are logged");
    assert!(log.iter().all(|line| !line.contains(&order.token)), "a token is logged");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_permits_reads_everywhere_and_changes_only_from_our_own_pages() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let mut visitor = Visitor::new(&web);
    let page = buy(&mut visitor, VISA).await;
    let id = page.trim_start_matches("/track/").to_owned();
    for path in [format!("/orders/{id}"), format!("/orders/{id}/timeline"), page.clone()] {
        assert_eq!(visitor.get(&path).await.status, 200, "{path}");
        assert_eq!(Visitor::new(&web).get(&path).await.status, 404, "{path}");
    }
    let evil = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    let framed = [("origin", "null"), ("sec-fetch-site", "cross-site")];
    for headers in [&evil[..], &framed, &[]] {
        for path in [format!("/orders/{id}/cancel"), format!("{page}/cancel")] {
            assert_eq!(visitor.send(Method::POST, &path, headers, None).await.status, 404, "{path} {headers:?}");
        }
    }
    // Another site's page cannot place an order with this browser either.
    let form = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "cross-site")];
    let elsewhere = visitor.send(Method::POST, "/checkout", &form, Some("key=abc".to_owned())).await;
    assert_eq!(elsewhere.status, 403);
    assert_eq!(watching(&visitor, &id, Some("https://evil.example")).await, 404);
    assert_eq!(watching(&visitor, &id, None).await, 404);
    assert_eq!(watching(&visitor, &id, Some(PUBLIC_URL)).await, 101);
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders WHERE cancel_requested").await, 0);
    let asked = visitor.send(Method::POST, &format!("/orders/{id}/cancel"), &[("origin", PUBLIC_URL)], None).await;
    assert_eq!(asked.status, 202);
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders WHERE cancel_requested").await, 1);
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}

/// Returns the status of a WebSocket handshake with the visitor's cookies.
async fn watching(visitor: &Visitor, id: &str, origin: Option<&str>) -> u16 {
    let url = format!("{}/orders/{id}/live", visitor.root.replacen("http", "ws", 1));
    let mut request = url.into_client_request().expect("a URL");
    let cookies: Vec<_> = visitor.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    request.headers_mut().insert("cookie", cookies.join("; ").parse().expect("text"));
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().expect("text"));
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((_, answer)) => answer.status().as_u16(),
        Err(tungstenite::Error::Http(answer)) => answer.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_keeps_its_last_ten_orders_open() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    let mut pages = Vec::new();
    for _ in 0..12 {
        pages.push(buy(&mut visitor, VISA).await);
    }
    assert_eq!(visitor.cookies.len(), 10);
    let mut open = Vec::new();
    for page in &pages {
        open.push(visitor.get(page).await.status == 200);
    }
    assert_eq!(open, [&[false; 2][..], &[true; 10]].concat());
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}
