//! Browsers receive pages, whatever the status; programs receive problem documents.

use orderflow_tests::{Page, Shop, VISA, Visitor};
use reqwest::Method;
use serde_json::Value;

use super::{buy, form};

/// Headers that browsers send when someone opens an address or submits a form.
pub const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Fails unless this is a page with this status and text and a link that leads on.
#[track_caller]
pub fn is_a_page(page: &Page, status: u16, says: &str) {
    assert_eq!(page.status.as_u16(), status, "{page:?}");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{page:?}");
    assert!(page.header("content-security-policy").contains("default-src 'none'"), "{page:?}");
    assert!(page.text.contains("<h1") && page.text.contains(says), "{says}: {page:?}");
    assert!(page.text.contains("<a ") && !page.text.contains("/problems/"), "{page:?}");
    assert!(!page.header("x-request-id").is_empty(), "{page:?}");
}

#[track_caller]
pub fn is_a_document(page: &Page, status: u16) {
    assert_eq!(page.status.as_u16(), status, "{page:?}");
    assert_eq!(page.header("content-type"), "application/problem+json", "{page:?}");
    assert!(serde_json::from_str::<Value>(&page.text).is_ok_and(|body| body["status"] == status), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_pages_for_browsers_and_documents_for_programs() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let mut visitor = Visitor::new(&web);
    let order = buy(&mut visitor, VISA).await;
    let cancel = format!("{order}/cancel");
    let large = format!("name={}", "x".repeat(70_000));
    let own = [("origin", "null"), ("sec-fetch-site", "same-origin")];
    let json = ("content-type", "application/json");
    for (method, path, headers, body, status, says) in [
        (Method::GET, "/nowhere", &[BROWSER][..], "", 404, "There is no such page"),
        (Method::GET, "/%ff", &[BROWSER], "", 404, "There is no such page"),
        (Method::POST, "/nowhere", &[BROWSER, FORM], "a=b", 404, "There is no such page"),
        (Method::GET, "/assets/0123456789abcdef/no.css", &[BROWSER], "", 404, "There is no such page"),
        // The path of a page answers every client with a page.
        (Method::GET, "/checkout", &[], "", 405, "cannot be opened by its address"),
        (Method::DELETE, "/", &[], "", 405, "cannot be opened by its address"),
        (Method::GET, &cancel, &[], "", 405, "cannot be opened by its address"),
        (Method::POST, "/checkout", &[own[0], own[1], json], "{}", 415, "We could not read that"),
        (Method::POST, "/checkout", &[own[0], own[1], FORM], &large, 413, "Nothing was ordered"),
        (Method::POST, "/checkout", &[FORM, ("sec-fetch-site", "same-site")], "", 403, "did not come from our shop"),
        (Method::GET, "/track/%ff", &[], "", 404, "We cannot find this order"),
        (Method::POST, &cancel, &[("origin", "http://evil.example")], "", 404, "We cannot find this order"),
    ] {
        let page = visitor.send(method.clone(), path, headers, Some(body.to_owned())).await;
        is_a_page(&page, status, says);
        if status == 405 {
            assert!(!page.header("allow").is_empty(), "{method} {path}");
        }
    }
    // Programs receive documents, and so do all clients of the API.
    for (method, path, headers, status) in [
        (Method::GET, "/nowhere", &[][..], 404),
        (Method::GET, "/nowhere", &[("accept", "*/*")], 404),
        (Method::GET, "/nowhere", &[("accept", "application/json")], 404),
        (Method::GET, "/assets/0123456789abcdef/no.css", &[("accept", "text/css,*/*;q=0.1")], 404),
        (Method::GET, "/orders/x", &[BROWSER], 404),
        (Method::POST, "/orders", &[BROWSER, json], 400),
        (Method::GET, "/orders", &[BROWSER], 405),
        (Method::DELETE, "/products", &[BROWSER], 405),
    ] {
        let body = if method == Method::POST { "{}" } else { "" };
        is_a_document(&visitor.send(method, path, headers, Some(body.to_owned())).await, status);
    }
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    // A failure on our side: here a renamed table.
    shop.execute("ALTER TABLE orders.orders RENAME TO mislaid").await;
    let page = visitor.get(&order).await;
    assert!(page.status.is_server_error(), "{page:?}");
    is_a_page(&page, page.status.as_u16(), "We cannot show this just now");
    let key = visitor.get("/").await.field("key");
    let page = visitor.post("/checkout", &form(&key, VISA)).await;
    assert!(page.status.is_server_error(), "{page:?}");
    is_a_page(&page, page.status.as_u16(), "it will be one order, however often you press");
    shop.execute("ALTER TABLE orders.mislaid RENAME TO orders").await;
    shop.until_quiet().await;
    shop.close().await;
}

/// A page of another site could fill the customer's browser with orders of strangers, whose cookies push out the
/// customer's own. Browsers report a form's origin in `Sec-Fetch-Site`, which no script can set, or else in `Origin`.
/// Programs such as curl send neither, and have no customer's cookies.
#[tokio::test(flavor = "multi_thread")]
async fn order_form_is_accepted_only_from_our_own_page() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let foreign = ("origin", "https://evil.example");
    let key = Visitor::new(&web).get("/").await.field("key");
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form(&key, VISA)).finish();
    let send = async |headers: &[(&str, &str)]| {
        let mut stranger = Visitor::new(&web);
        let page = stranger.send(Method::POST, "/checkout", &[&[FORM], headers].concat(), Some(body.clone())).await;
        (page, stranger.cookies)
    };
    for headers in [
        &[("sec-fetch-site", "same-site")][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "null")],
        &[("sec-fetch-site", "same-site"), ("origin", super::PUBLIC_URL)],
        &[foreign],
        &[foreign, ("sec-fetch-site", "same-origin")],
        &[foreign, ("sec-fetch-site", "none")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:1")],
    ] {
        let (page, cookies) = send(headers).await;
        is_a_page(&page, 403, super::PUBLIC_URL);
        assert!(page.text.contains("Nothing was ordered") && cookies.is_empty(), "{headers:?}: {page:?}");
    }
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 0);
    for headers in [
        &[("origin", "null"), ("sec-fetch-site", "same-origin")][..],
        &[("origin", super::PUBLIC_URL)],
        &[("origin", super::PUBLIC_URL), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", "null"), ("sec-fetch-site", "none")],
        &[],
    ] {
        let (page, cookies) = send(headers).await;
        assert_eq!((page.status.as_u16(), cookies.len()), (303, 1), "{headers:?}: {page:?}");
    }
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 1, "one key, one order");
    shop.start_worker(&[]).await;
    shop.close().await;
}
