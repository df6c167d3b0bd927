//! The shop and its form.

use orderflow_tests::{DECLINED, Shop, VISA, Visitor, Web, body};
use serde_json::json;

use super::{buy, form, leads_to_an_order};

/// Limit in bytes for everything that the first visit loads, so that it is quick on a phone.
const LIGHT: usize = 100_000;

async fn orders(shop: &Shop) -> i64 {
    shop.number("SELECT count(*) FROM orders.orders").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_is_light_and_loads_nothing_from_elsewhere() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let mut visitor = Visitor::new(&web);
    let page = visitor.get("/").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let policy = page.header("content-security-policy");
    for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains(" style=\"") && !page.text.contains("<style"), "the policy forbids inline styles");
    assert!(page.text.contains("Blue stoneware mug") && page.text.contains("14.99 EUR"));
    assert!(page.text.contains("Sold out"), "one product is sold out");
    assert!(!page.text.contains("quantity-LAMP-SOLDOUT\" name"), "a sold-out product has no quantity field");

    let mut bytes = page.text.len();
    let loads = page.loads();
    assert!(loads.len() > 12, "a picture for each product, a stylesheet, a script: {loads:?}");
    let scripts = ["cart.js", "money.js"].map(|name| loads[0].rsplit_once('/').map(|_| name).expect("a name"));
    let folder = page.text.split("/assets/").nth(1).and_then(|rest| rest.split('/').next()).expect("a version");
    let imported = scripts.map(|name| format!("/assets/{folder}/{name}"));
    for path in loads.iter().chain(&imported) {
        let asset = visitor.get(path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(asset.header("cache-control").contains("immutable"), "{path}");
        let again = visitor.send(reqwest::Method::GET, path, &[("if-none-match", asset.header("etag"))], None).await;
        assert_eq!((again.status.as_u16(), again.text.len()), (304, 0), "{path}");
        bytes += asset.text.len();
    }
    assert!(bytes < LIGHT, "{bytes} bytes");
    // During an upgrade, a page of one version may load an asset from the other, under the first one's path.
    let other = visitor.get(&format!("/assets/0123456789abcdef/{}", "style.css")).await;
    assert_eq!((other.status.as_u16(), other.header("cache-control")), (200, "no-cache"));
    assert_eq!(visitor.get(&format!("/assets/{folder}/../Cargo.toml")).await.status, 404);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn form_creates_the_same_order_as_the_api() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    let key = visitor.get("/").await.field("key");
    let placed = visitor.post("/checkout", &form(&key, VISA)).await;
    let page = leads_to_an_order(&placed);
    // A double click or a reload returns the same order.
    assert_eq!(leads_to_an_order(&visitor.post("/checkout", &form(&key, VISA)).await), page);
    // The API returns it too for the same key and the same body: both follow the same rules.
    let answer = web.place(&key, &body("MUG-BLUE", 1, VISA)).await;
    assert_eq!((answer.status.as_u16(), answer.headers["idempotent-replayed"].as_str()), (202, "true"), "{answer:?}");
    let order = answer.accepted();
    assert_eq!(page, format!("/track/{}", order.id));
    assert_eq!(orders(&shop).await, 1);
    web.until_status(&order, "shipped").await;
    let expected = ["order.created", "payment.completed", "inventory.reserved", "shipment.created"];
    assert_eq!(web.events(&order).await, expected);
    shop.until_quiet().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_shown_beside_their_fields_and_input_is_kept() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    let key = visitor.get("/").await.field("key");
    let mut wrong = form(&key, VISA);
    wrong.retain(|(name, _)| !["email", "country", "line1"].contains(name));
    wrong.extend([
        ("email", "ada@"),
        ("country", ""),
        ("line1", "4242 4242 4242 4242"),
        ("quantity-TEAPOT-1L", "3"),
        ("quantity-KETTLE-GOOSE", "100"),
        ("quantity-GONE", "1"),
        ("quantity-NOTEBOOK-A5", "4111111111111111"),
    ]);
    let page = visitor.post("/checkout", &wrong).await;
    assert_eq!(page.status, 422);
    for (field, text) in [
        ("email", "Enter an e-mail address such as ada@example.com."),
        ("country", "Choose a country."),
        ("line1", "This looks like a card number."),
        ("quantity-KETTLE-GOOSE", "Choose a whole number from 1 to 99."),
    ] {
        assert!(page.element(&format!("{field}-error")).starts_with(text), "{field}: {}", page.text);
        let product = if field.starts_with("quantity-") { "Gooseneck kettle: " } else { "" };
        assert!(page.text.contains(&format!("<a href=\"#{field}\">{product}{text}")), "the summary leads to {field}");
    }
    assert!(!page.text.contains("4111111111111111"), "a card number is repeated");
    assert!(page.text.contains("We do not sell this any more"));
    assert_eq!(page.field("name"), "Ada Lovelace");
    assert_eq!(page.field("email"), "ada@");
    assert_eq!(page.field("line1"), "", "what looks like a card number is not repeated");
    assert_eq!((page.field("quantity-MUG-BLUE"), page.field("quantity-TEAPOT-1L")), ("1".to_owned(), "3".to_owned()));
    // One mug and three teapots.
    assert_eq!(page.element("cart-amount"), "134.69 EUR");
    assert_eq!(page.field("key"), key, "a refusal does not consume the key");
    assert_eq!(orders(&shop).await, 0);

    let mut empty = form(&key, VISA);
    empty.retain(|(name, _)| !name.starts_with("quantity-"));
    let page = visitor.post("/checkout", &empty).await;
    assert!(page.status == 422 && page.text.contains("Your cart is empty"), "{page:?}");
    // Without a script the server updates the cart, and nothing is ordered.
    let mut update = form(&key, VISA);
    update.push(("update", "1"));
    let page = visitor.post("/checkout", &update).await;
    assert_eq!((page.status.as_u16(), page.element("cart-amount")), (200, "14.99 EUR".to_owned()));
    assert_eq!(orders(&shop).await, 0);

    leads_to_an_order(&visitor.post("/checkout", &form(&key, VISA)).await);
    // Another order from the same form: the page asks the customer, with a new key.
    let mut other = form(&key, VISA);
    other.push(("quantity-TEAPOT-1L", "1"));
    let page = visitor.post("/checkout", &other).await;
    assert!(page.status == 422 && page.text.contains("already"), "{page:?}");
    let fresh = page.field("key");
    assert!(fresh != key && fresh.len() >= 16, "{fresh}");
    let total = page.field("total");
    (other[0], other[1]) = (("key", fresh.as_str()), ("total", total.as_str()));
    leads_to_an_order(&visitor.post("/checkout", &other).await);
    assert_eq!(orders(&shop).await, 2);
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn form_requires_the_address_fields_of_the_country() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    let page = visitor.get("/").await;
    assert!(page.text.contains("autocomplete=\"tel\"") && page.text.contains("autocomplete=\"address-level1\""));
    let key = page.field("key");
    let entered = |country: &'static str, code: &'static str, phone: &'static str| {
        let mut fields = form(&key, VISA);
        fields.retain(|(name, _)| !["country", "postal_code"].contains(name));
        fields.extend([("country", country), ("postal_code", code), ("phone", phone), ("state", "")]);
        fields
    };
    for (country, code, phone, field, text) in [
        ("GB", "", "", "postal_code", "Enter your postal code."),
        ("GB", "10115", "", "postal_code", "Enter a postal code of the country that you chose."),
        ("GB", "SW1Y 4JH", "none", "phone", "Enter a phone number"),
        ("GB", "SW1Y 4JH", "4242 4242 4242 4242", "phone", "This looks like a card number."),
    ] {
        let page = visitor.post("/checkout", &entered(country, code, phone)).await;
        assert_eq!(page.status, 422);
        assert!(page.element(&format!("{field}-error")).starts_with(text), "{page:?}");
        assert!(!page.text.contains("4242 4242"), "what looks like a card number is not repeated");
    }
    leads_to_an_order(&visitor.post("/checkout", &entered("HK", "", "+852 2123 4567")).await);
    assert_eq!(orders(&shop).await, 1);
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_shop_says_so_and_keeps_the_cart() {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[("RATE_LIMIT", "1")]).await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    buy(&mut visitor, VISA).await;
    let key = visitor.get("/").await.field("key");
    let page = visitor.post("/checkout", &form(&key, VISA)).await;
    assert_eq!(page.status, 429);
    let seconds: u64 = page.header("retry-after").parse().expect("seconds");
    assert!((1..=61).contains(&seconds), "{seconds}");
    assert!(page.text.contains("We are very busy just now"), "{page:?}");
    assert_eq!((page.field("key"), page.field("quantity-MUG-BLUE")), (key, "1".to_owned()));
    assert_eq!(page.field("name"), "Ada Lovelace");
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_order_refills_the_cart_and_the_new_order_names_it() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut visitor = Visitor::new(&web);
    let declined = buy(&mut visitor, DECLINED).await;
    let id = declined.trim_start_matches("/track/").to_owned();
    shop.until_orders("payment_failed", 1).await;
    let page = visitor.get(&declined).await;
    let link = format!("/?replaces={id}");
    assert!(page.text.contains(&format!("href=\"{link}\"")), "{page:?}");
    let shelf = visitor.get(&link).await;
    assert_eq!((shelf.field("replaces"), shelf.field("quantity-MUG-BLUE")), (id.clone(), "1".to_owned()));
    // Another browser sees the shop and nothing of the order.
    let stranger = Visitor::new(&web).get(&link).await;
    assert_eq!((stranger.status.as_u16(), stranger.field("replaces")), (200, String::new()));
    assert_eq!(stranger.field("quantity-MUG-BLUE"), "0");

    let key = shelf.field("key");
    let mut again = form(&key, VISA);
    again.push(("replaces", &id));
    // Without the order's cookie, the order cannot be replaced.
    let refused = Visitor::new(&web).post("/checkout", &again).await;
    assert!(refused.status == 422 && refused.field("replaces").is_empty(), "{refused:?}");
    let paid = leads_to_an_order(&visitor.post("/checkout", &again).await);
    // A repeated request gets the same answer, even without the declined order's cookie.
    assert_eq!(leads_to_an_order(&Visitor::new(&web).post("/checkout", &again).await), paid);
    let named = format!(
        "SELECT count(*) FROM messaging.event_log WHERE event = 'order.created' AND data->>'replaces' = '{id}'"
    );
    assert_eq!(shop.number(&named).await, 1);
    shop.until_orders("shipped", 1).await;
    replaced_by_the_api(&web, &visitor, &id, paid.trim_start_matches("/track/")).await;
    shop.until_settled().await;
    shop.until_quiet().await;
    shop.close().await;
}

/// Replaces the order through the API, which accepts the token of the declined order and no other.
async fn replaced_by_the_api(web: &Web, visitor: &Visitor, declined: &str, shipped: &str) {
    let token = |order: &str| format!("Bearer {}", visitor.cookies[&format!("order-{order}")]);
    let ask = async |replaces: &str, token: Option<String>| {
        let mut order = body("MUG-BLUE", 1, VISA);
        order["replaces"] = json!(replaces);
        let key = orderflow_tests::key();
        let mut headers = vec![("idempotency-key", key.as_str()), ("content-type", "application/json")];
        headers.extend(token.as_deref().map(|token| ("authorization", token)));
        web.send(reqwest::Method::POST, "/orders", &headers, Some(order.to_string().into_bytes())).await
    };
    let accepted = ask(declined, Some(token(declined))).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    for (replaces, token) in [
        (declined, None),
        (declined, Some(token(shipped))),
        (shipped, Some(token(shipped))),
        ("x", Some(token(declined))),
    ] {
        let answer = ask(replaces, token).await;
        assert_eq!(answer.errors(), [("#/replaces".to_owned(), "not_replaceable".to_owned())], "{answer:?}");
    }
}
