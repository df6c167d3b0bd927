//! Nobody is charged an amount that they were not shown.

use orderflow_tests::{Shop, VISA, Visitor, Web, body, key, until};
use serde_json::{Value, json};

use super::{form, leads_to_an_order};

/// Waits until this front end sells the mug at this price: its copy of the catalogue is about a second old.
async fn until_it_costs(web: &Web, price: i64) {
    until(&format!("the mug costs {price}"), async || {
        let products = web.get("/products", &[]).await.body;
        let mug = products["items"].as_array().into_iter().flatten().find(|one| one["sku"] == "MUG-BLUE").cloned();
        if mug.as_ref().is_some_and(|mug| mug["price"] == price) { Ok(()) } else { Err(mug) }
    })
    .await;
}

async fn set_price(shop: &Shop, web: &Web, price: i64) {
    shop.execute(&format!("UPDATE catalogue.products SET price = {price} WHERE sku = 'MUG-BLUE'")).await;
    until_it_costs(web, price).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customer_confirms_a_price_that_changed_after_the_page_was_shown() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    let first = visitor.get("/").await.field("key");
    set_price(&shop, &web, 9_999).await;
    // The page said 14.99 EUR.
    let asked = visitor.post("/checkout", &form(&first, VISA)).await;
    assert_eq!(asked.status, 422);
    let notice = "The total was 14.99 EUR and is now 99.99 EUR. Nothing was ordered yet";
    assert!(asked.text.contains(notice), "{}", asked.text);
    assert_eq!((asked.field("total"), asked.field("key")), ("9999".to_owned(), first.clone()));
    assert_eq!(asked.element("place-total"), "· 99.99 EUR");
    assert_eq!((asked.field("name"), asked.field("quantity-MUG-BLUE")), ("Ada Lovelace".to_owned(), "1".to_owned()));
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 0);
    let total = |total| {
        let mut fields = form(&first, VISA);
        fields.retain(|(name, _)| *name != "total");
        fields.push(("total", total));
        fields
    };
    let placed = leads_to_an_order(&visitor.post("/checkout", &total("9999")).await);
    assert_eq!(shop.number("SELECT total FROM orders.orders").await, 9_999);
    // A repeated form returns the same order, whatever the current price and the total shown.
    set_price(&shop, &web, 1_499).await;
    for shown in ["9999", "1499"] {
        assert_eq!(leads_to_an_order(&visitor.post("/checkout", &total(shown)).await), placed, "{shown}");
    }
    // Without scripts the first page shows no total, so the customer must see one before anything is ordered.
    let second = visitor.get("/").await;
    assert_eq!(second.field("total"), "0");
    let key = second.field("key");
    for nothing in ["0", "", "free"] {
        let mut fields = form(&key, VISA);
        fields.retain(|(name, _)| *name != "total");
        fields.push(("total", nothing));
        let asked = visitor.post("/checkout", &fields).await;
        assert!(asked.status == 422 && asked.text.contains("Your order costs 14.99 EUR."), "{asked:?}");
        assert_eq!(asked.field("total"), "1499");
    }
    leads_to_an_order(&visitor.post("/checkout", &form(&key, VISA)).await);
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 2);
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}

/// The same for API clients that send the total that they have shown. An accepted request keeps its answer: the front
/// end looks its key up before it compares the total. A refusal does not consume the key.
#[tokio::test(flavor = "multi_thread")]
async fn total_other_than_expected_total_is_refused_with_the_new_total() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let expecting = |total: Value| {
        let mut order = body("MUG-BLUE", 2, VISA);
        order["expected_total"] = total;
        order
    };
    let one = key();
    let refused = web.place(&one, &expecting(json!(1_499))).await;
    assert_eq!(refused.status.as_u16(), 422, "{refused:?}");
    assert_eq!(refused.body["type"], "/problems/total-changed");
    assert_eq!((&refused.body["total"], &refused.body["currency"]), (&json!(2_998), &json!("EUR")), "{refused:?}");
    assert_eq!(refused.errors(), [("#/expected_total".to_owned(), "total_changed".to_owned())]);
    let accepted = web.place(&one, &expecting(json!(2_998))).await;
    assert_eq!((accepted.status.as_u16(), &accepted.body["total"]), (202, &json!(2_998)), "{accepted:?}");
    set_price(&shop, &web, 2_000).await;
    let again = web.place(&one, &expecting(json!(2_998))).await;
    assert_eq!((again.status.as_u16(), &again.body), (202, &accepted.body), "{again:?}");
    assert_eq!(again.headers["idempotent-replayed"], "true");
    // Another body under the same key is another request.
    let other = web.place(&one, &expecting(json!(4_000))).await;
    assert_eq!(other.body["type"], "/problems/idempotency-key-reused", "{other:?}");
    // Without `expected_total`, the current price is charged.
    for silent in [body("MUG-BLUE", 2, VISA), expecting(Value::Null)] {
        let accepted = web.place(&key(), &silent).await;
        assert_eq!((accepted.status.as_u16(), &accepted.body["total"]), (202, &json!(4_000)), "{accepted:?}");
    }
    for (wrong, code) in [
        (json!(-1), "out_of_range"),
        (json!(u64::MAX), "out_of_range"),
        (json!("4000"), "wrong_type"),
        (json!(4000.5), "wrong_type"),
        (json!([4000]), "wrong_type"),
    ] {
        let refused = web.place(&key(), &expecting(wrong.clone())).await;
        assert_eq!(refused.errors(), [("#/expected_total".to_owned(), code.to_owned())], "{wrong}: {refused:?}");
    }
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}
