//! The console's error pages, and which forms it accepts.

use orderflow_tests::Shop;
use reqwest::Method;

use super::{QUEUE, logged_in};
use crate::{
    admin::{ADA, start_web_for_operators},
    pages::statuses::{BROWSER, FORM, is_a_document, is_a_page},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_page_for_operators_and_a_document_for_programs() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    let mut ada = logged_in(&operators, ADA).await;
    let origin = operators.web.root.clone();
    let own = ("origin", origin.as_str());
    let large = format!("token={}", "x".repeat(70_000));
    let json = ("content-type", "application/json");
    let stock = "/ops/products/MUG-BLUE/stock";
    for (method, path, headers, body, status, says) in [
        (Method::GET, "/nowhere", &[BROWSER][..], "", 404, "nothing at this path"),
        (Method::GET, "/ops/nowhere", &[BROWSER], "", 404, "nothing at this path"),
        (Method::GET, "/admin/nowhere", &[BROWSER], "", 404, "nothing at this path"),
        (Method::GET, "/ops/logout", &[], "", 405, "does not support this method"),
        (Method::DELETE, "/ops/orders", &[], "", 405, "does not support this method"),
        (Method::GET, "/ops/orders/0000000000", &[], "", 404, "There is no such order"),
        (Method::GET, "/ops/orders?limit=x", &[], "", 400, "limit must be"),
        (Method::GET, "/ops/audit?cursor=x", &[], "", 400, "cursor must be"),
        (Method::GET, "/ops/replays/x", &[], "", 404, "There is no such replay"),
        (Method::POST, stock, &[own, json], "{}", 415, "Content-Type"),
        (Method::POST, stock, &[own, FORM], &large, 413, "at most 65536 bytes"),
        (Method::POST, "/ops/login", &[own, FORM], &large, 413, "at most 65536 bytes"),
        (Method::POST, stock, &[own, FORM], "available=x", 400, "available must be"),
        (Method::POST, "/ops/products/NO-SUCH/stock", &[own, FORM], "available=1&expected=0", 404, "no such product"),
    ] {
        is_a_page(&ada.send(method, path, headers, Some(body.to_owned())).await, status, says);
    }
    // Forms of other sites, at every path that accepts a form.
    let foreign: [&[(&str, &str)]; 5] = [
        &[FORM],
        &[FORM, ("origin", "null")],
        &[FORM, ("origin", "https://evil.example")],
        &[FORM, own, ("sec-fetch-site", "same-site")],
        &[FORM, own, ("sec-fetch-site", "cross-site")],
    ];
    for path in [stock, "/ops/dead-letters/replay", "/ops/dead-letters/discard", "/ops/logout", "/ops/login"] {
        for headers in foreign {
            let body = format!("available=1&expected=1000000&queue={QUEUE}&confirmed=1&token={ADA}");
            let refused = ada.send(Method::POST, path, headers, Some(body)).await;
            is_a_page(&refused, 403, "did not come from our own pages");
            assert!(refused.header("set-cookie").is_empty(), "{path} {headers:?}: {refused:?}");
        }
    }
    assert_eq!(shop.number("SELECT available FROM inventory.stock WHERE sku = 'MUG-BLUE'").await, 1_000_000);
    for (path, headers, status) in [
        ("/nowhere", &[][..], 404),
        ("/admin/nowhere", &[("accept", "application/json")], 404),
        ("/admin/orders", &[BROWSER], 401),
    ] {
        is_a_document(&ada.send(Method::GET, path, headers, None).await, status);
    }
    shop.close().await;
}
