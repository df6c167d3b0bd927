//! Setting stock in the console.

use orderflow_tests::{Shop, add_products};
use reqwest::StatusCode;
use serde_json::json;

use super::{logged_in, page, post};
use crate::{
    admin::{ADA, start_web_for_operators},
    pages::statuses::is_a_page,
};

/// If orders took stock after the page was shown, setting stock by the shown number would restore items that were sold.
#[tokio::test(flavor = "multi_thread")]
async fn stock_is_set_only_if_it_has_not_changed_since_the_page_was_shown() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    let mut ada = logged_in(&operators, ADA).await;
    let path = "/ops/products/MUG-BLUE/stock";
    let shown = page(&mut ada, "/ops/products").await;
    let form = shown.text.split(&format!("action=\"{path}\"")).nth(1).expect("its form");
    assert!(form.split("</form>").next().is_some_and(|form| form.contains("name=\"expected\" value=\"1000000\"")));
    sell_five(&shop).await;
    let available = async || shop.number("SELECT available FROM inventory.stock WHERE sku = 'MUG-BLUE'").await;

    // Submitted without a change, and with one.
    let unchanged = post(&mut ada, path, &[("available", "1000000"), ("expected", "1000000")]).await;
    is_a_page(&unchanged, 409, "You changed nothing");
    assert!(unchanged.text.contains("showed 1000000") && unchanged.text.contains("there are 999995"), "{unchanged:?}");
    let changed = post(&mut ada, path, &[("available", "1000012"), ("expected", "1000000")]).await;
    is_a_page(&changed, 409, "Nothing was set");
    assert!(changed.text.contains("5 fewer") && changed.text.contains("Set it to 1000007"), "{changed:?}");
    let old = post(&mut ada, path, &[("available", "3")]).await;
    is_a_page(&old, 422, "This page was too old");
    assert_eq!(available().await, 999_995);
    let refused = page(&mut ada, "/ops/audit").await;
    assert!(!refused.text.contains("Set the stock"), "refused changes are not listed: {}", refused.text);

    // The page's offer is based on the number that it shows, which may be outdated again.
    let same = [("expected", "999995"), ("available", "1000007")];
    assert!(same.iter().all(|(name, value)| changed.text.contains(&format!("name=\"{name}\" value=\"{value}\""))));
    sell_five(&shop).await;
    is_a_page(&post(&mut ada, path, &same).await, 409, "there are 999990");
    let set = post(&mut ada, path, &[("expected", "999990"), ("available", "1000000")]).await;
    assert_eq!((set.status, set.header("location")), (StatusCode::SEE_OTHER, "/ops/products?set=MUG-BLUE"), "{set:?}");
    assert!(
        page(&mut ada, set.header("location")).await.text.contains("The stock of MUG-BLUE is set: 1000000 available")
    );
    assert_eq!(available().await, 1_000_000);
    for wrong in ["-1", ""] {
        let refused = post(&mut ada, path, &[("available", wrong), ("expected", "1000000")]).await;
        assert!(refused.status.is_client_error(), "{wrong}: {refused:?}");
    }
    let log = page(&mut ada, "/ops/audit").await;
    let told = "Set the stock of MUG-BLUE from 999990 to 1000000 (+10).";
    assert!(log.text.contains(told) && log.text.contains("Logged in to the console."), "{}", log.text);
    assert!(!log.text.contains("&#34;") && !log.text.contains("stock.set"), "sentences, not JSON: {}", log.text);
    let details = &operators.get("/admin/audit").await["items"][0]["details"];
    assert_eq!(*details, json!({ "before": 999_990, "available": 1_000_000, "expected": 999_990 }));
    shop.close().await;
}

/// Changes the stock and its movements as orders do.
async fn sell_five(shop: &Shop) {
    shop.execute("UPDATE inventory.stock SET available = available - 5 WHERE sku = 'MUG-BLUE'").await;
    shop.execute("INSERT INTO inventory.movements (sku, kind, quantity) VALUES ('MUG-BLUE', 'adjusted', -5)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_products_are_paged_and_searched() {
    let mut shop = Shop::open().await;
    let (_, operators) = start_web_for_operators(&mut shop, &[]).await;
    add_products(&shop, 3_000).await;
    let mut ada = logged_in(&operators, ADA).await;
    let first = page(&mut ada, "/ops/products").await;
    assert!(first.text.contains("Page 1 of 31") && first.text.len() < 150_000, "{} bytes", first.text.len());
    let last = page(&mut ada, "/ops/products?page=31").await;
    assert!(last.text.contains("THING-3000") && !last.text.contains(">Next<"), "{}", last.text);
    let found = page(&mut ada, "/ops/products?q=thing+number+2999").await;
    assert!(found.text.contains("THING-2999") && !found.text.contains("MUG-BLUE"), "{}", found.text);
    assert!(page(&mut ada, "/ops/products?q=elephant").await.text.contains("No product matches"));
    // After setting the stock, the same part of the list is shown.
    let fields = [("available", "3"), ("expected", "50"), ("q", "number"), ("page", "2")];
    let set = post(&mut ada, "/ops/products/THING-150/stock", &fields).await;
    assert_eq!(set.header("location"), "/ops/products?set=THING-150&q=number&page=2", "{set:?}");
    shop.close().await;
}
