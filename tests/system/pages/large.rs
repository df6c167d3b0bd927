//! A shop with far more products than a page can show.

use std::collections::BTreeMap;

use orderflow_tests::{Page, Shop, VISA, Visitor, add_products};

use super::{form, leads_to_an_order};

/// With this many products the form once had a field for each, and an order for one mug failed with 413.
const PRODUCTS: u32 = 3_000;

/// Limit for a page without its pictures, in bytes.
const LIGHT: usize = 60_000;

/// Returns all fields of the page's form as a browser without scripts sends them, with these values entered.
fn filled_in(page: &Page, entered: &[(&str, &str)]) -> Vec<(String, String)> {
    let form = page.text.split("<form").nth(1).and_then(|rest| rest.split("</form>").next()).expect("a form");
    let inputs = form.split("<input ").skip(1).filter_map(|rest| rest.split('>').next());
    let attribute = |tag: &str, name: &str| {
        tag.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
    };
    let inputs = inputs.filter(|tag| !tag.contains("type=\"radio\""));
    let mut fields: BTreeMap<String, String> =
        inputs.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))).collect();
    for (name, value) in entered {
        fields.insert((*name).to_owned(), (*value).to_owned());
    }
    fields.into_iter().collect()
}

async fn send(visitor: &mut Visitor, fields: &[(String, String)]) -> Page {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    visitor.post("/checkout", &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_thousand_products_can_be_bought_without_a_script() {
    let mut shop = Shop::open().await;
    add_products(&shop, PRODUCTS).await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    let first = visitor.get("/").await;
    assert!(first.text.len() < LIGHT, "{} bytes", first.text.len());
    assert_eq!(first.element("found"), "1 to 24 of 3012 products");
    assert_eq!(first.text.matches("name=\"quantity-").count(), 23, "one of the first 24 is sold out");

    // The cart keeps a product chosen on one page, with its field, while the customer pages and searches.
    let chosen = filled_in(&first, &[("quantity-MUG-BLUE", "1"), ("name", "Ada Lovelace"), ("page", "126")]);
    let last = send(&mut visitor, &chosen).await;
    assert_eq!((last.status.as_u16(), last.element("found").as_str()), (200, "3001 to 3012 of 3012 products"));
    assert_eq!((last.field("quantity-MUG-BLUE"), last.field("name")), ("1".to_owned(), "Ada Lovelace".to_owned()));
    assert_eq!(last.element("cart-amount"), "14.99 EUR");
    let found = send(&mut visitor, &filled_in(&last, &[("q", "number THING-2999"), ("page", "1")])).await;
    assert_eq!(found.element("found"), "1 product");
    let none = send(&mut visitor, &filled_in(&found, &[("q", "elephant"), ("page", "1")])).await;
    assert_eq!((none.status.as_u16(), none.element("found").as_str()), (200, "No product matches."));
    assert_eq!(none.field("quantity-MUG-BLUE"), "1", "the cart survives a search");
    let all = send(&mut visitor, &filled_in(&none, &[("all", "1")])).await;
    assert_eq!(all.element("found"), "1 to 24 of 3012 products");
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders").await, 0, "browsing orders nothing");

    // After a mistake, the page keeps the search.
    let key = found.field("key");
    let mut whole: Vec<(&str, &str)> = form(&key, VISA);
    whole.retain(|(name, _)| !name.starts_with("quantity-") && !["city", "total"].contains(name));
    whole.push(("quantity-THING-2999", "2"));
    let mistaken = send(&mut visitor, &filled_in(&found, &[&whole[..], &[("city", "")]].concat())).await;
    assert_eq!((mistaken.status.as_u16(), mistaken.element("found").as_str()), (422, "1 product"), "{mistaken:?}");
    assert!(mistaken.text.contains("Enter your town."), "{mistaken:?}");
    // 14.99 and twice 100 + 2999 cents.
    assert_eq!(mistaken.element("cart-amount"), "76.97 EUR");
    let placed =
        send(&mut visitor, &filled_in(&mistaken, &[("city", "London"), ("country", "GB"), ("method", VISA)])).await;
    leads_to_an_order(&placed);
    shop.until_orders("shipped", 1).await;
    assert_eq!(shop.number("SELECT total FROM orders.orders").await, 7_697);
    assert_eq!(shop.number("SELECT count(*) FROM orders.items").await, 2);
    shop.until_quiet().await;
    shop.close().await;
}

/// An order has at most 50 different products. With more, the page must say so, and not that the cart is empty.
#[tokio::test(flavor = "multi_thread")]
async fn cart_with_too_many_products_is_not_reported_as_empty() {
    let mut shop = Shop::open().await;
    add_products(&shop, PRODUCTS).await;
    let web = shop.start_web().await;
    let mut visitor = Visitor::new(&web);
    let key = visitor.get("/").await.field("key");
    let names: Vec<String> = (1..=50).map(|number| format!("quantity-THING-{number}")).collect();
    let mut many = form(&key, VISA);
    many.extend(names.iter().map(|name| (name.as_str(), "1")));
    let page = visitor.post("/checkout", &many).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("at most 50 different things, and you have chosen 51"), "{page:?}");
    assert!(!page.text.contains("Your cart is empty:"), "{page:?}");
    assert_eq!(page.text.matches("name=\"quantity-THING-").count(), 50, "all of them are kept");
    shop.close().await;
}
