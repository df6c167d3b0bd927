//! Payments reach an outcome whatever the provider answers, and amounts are converted to the provider's units.

use std::{fs, path::Path};

use orderflow_tests::{Answer, Charged, Shop, VISA, Visitor, body, key, queues, until};
use serde_json::{Value, json};

/// Sets a product's price and currency for front ends that start afterwards.
async fn price(shop: &Shop, sku: &str, price: i64, currency: &str) {
    shop.execute(&format!(
        "UPDATE catalogue.products SET price = {price}, currency = '{currency}' WHERE sku = '{sku}'"
    ))
    .await;
}

/// Returns the concatenated texts of all mails to customers.
fn mails(shop: &Shop) -> String {
    let files = fs::read_dir(shop.mail_directory()).expect("there are mails").flatten();
    let text = |path: &Path| {
        let content = fs::read(path).expect("a mail");
        let mail = mailparse::parse_mail(&content).expect("it is a mail");
        mail.parts().filter_map(|part| part.get_body().ok()).collect::<String>()
    };
    files.map(|file| text(&file.path())).collect()
}

fn refused(answer: &Answer) -> (u16, Value) {
    (answer.status.as_u16(), answer.body["errors"].clone())
}

async fn amounts(shop: &Shop, event: &str) -> i64 {
    let sum = "SELECT coalesce(sum((data ->> 'amount')::bigint), -1) FROM messaging.event_log";
    shop.number(&format!("{sum} WHERE event = '{event}'")).await
}

/// Stripe refuses a charge of zero, so the order would hang. Such an order is paid and refunded in our own tables,
/// without a call to the provider.
#[tokio::test(flavor = "multi_thread")]
async fn order_that_costs_nothing_is_paid_and_refunded_without_the_provider() {
    let mut shop = Shop::open_with_stripe().await;
    price(&shop, "MUG-BLUE", 0, "EUR").await;
    price(&shop, "BATTERY-BULK", 0, "EUR").await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let (shipped, refused) = (web.order("MUG-BLUE", 2, VISA).await, web.order("BATTERY-BULK", 1, VISA).await);
    web.until_status(&shipped, "shipped").await;
    web.until_status(&refused, "cancelled").await;
    shop.until_quiet().await;
    assert_eq!(shop.stripe().requests().await, 0, "Stripe received a request");
    assert_eq!((amounts(&shop, "payment.completed").await, amounts(&shop, "payment.refunded").await), (0, 0));
    assert!(mails(&shop).contains("You have not been charged"), "{}", mails(&shop));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_that_costs_nothing_is_paid_without_the_simulated_provider_too() {
    let mut shop = Shop::open().await;
    price(&shop, "MUG-BLUE", 0, "EUR").await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "shipped").await;
    assert_eq!(shop.number("SELECT count(*) FROM simulator.charges").await, 0);
    shop.close().await;
}

/// An order that can never be charged is refused while the customer can still change it. Only with Stripe: the
/// minimum is Stripe's.
#[tokio::test(flavor = "multi_thread")]
async fn order_that_stripe_cannot_charge_is_refused_when_it_is_placed() {
    let mut shop = Shop::open_with_stripe().await;
    price(&shop, "MUG-BLUE", 49, "EUR").await;
    price(&shop, "MUG-SAND", 5_124, "KWD").await;
    let web = shop.start_web().await;
    let place = async |sku: &str, quantity| web.place(&key(), &body(sku, quantity, VISA)).await;
    let error = |code: &str, detail: &str| (422, json!([{ "pointer": "#/items", "code": code, "detail": detail }]));
    let least = "Costs less than can be charged: the minimum is 0.50 EUR.";
    assert_eq!(refused(&place("MUG-BLUE", 1).await), error("total_too_small", least));
    let step = "Cannot be charged: the total must be a multiple of 0.010 KWD.";
    assert_eq!(refused(&place("MUG-SAND", 1).await), error("total_not_chargeable", step));
    // The limit applies to the total: two of the first cost enough, and the price of five of the other ends in 0.
    drop(place("MUG-BLUE", 2).await.accepted());
    drop(place("MUG-SAND", 5).await.accepted());
    let simulated = shop.start_web_with(&[("PAYMENT_PROVIDER", "simulated")]).await;
    drop(simulated.place(&key(), &body("MUG-BLUE", 1, VISA)).await.accepted());
    // No worker runs here, so nothing has to settle.
}

/// Only the customer can use another card, so the mail explains the reason. Stripe reports this case with status 400
/// and no code, and it is permanent.
#[tokio::test(flavor = "multi_thread")]
async fn card_that_cannot_be_used_again_declines_the_payment_and_the_customer_gets_a_mail() {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let message = "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment.";
    let error = json!({ "error": { "type": "invalid_request_error", "message": message } });
    shop.stripe().answer("confirm", 400, &error).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&order, "payment_failed").await;
    shop.until_quiet().await;
    let reason = "SELECT count(*) FROM messaging.event_log WHERE data ->> 'reason' = 'payment_method_unusable'";
    assert_eq!(shop.number(reason).await, 1);
    assert!(mails(&shop).contains("This payment method cannot be used"), "{}", mails(&shop));
    shop.stripe().answer_all().await;
    assert_eq!(shop.stripe().charged().await, Charged { intents: 1, charges: 0, refunds: 0 });
    shop.close().await;
}

/// An error in the request itself is not a declined card: an operator has to act, and the page says so.
/// A cancel still goes through.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_provider_error_becomes_a_dead_letter_and_the_page_says_so() {
    let mut shop = Shop::open_with_stripe().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let error = json!({ "error": { "type": "invalid_request_error", "code": "of_next_year" } });
    shop.stripe().answer("create", 400, &error).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let mut visitor = Visitor::new(&web);
    visitor.get(&format!("/track/{}?t={}", order.id, order.token)).await;
    until("the page says that the order needs attention", async || {
        let page = visitor.get(&format!("/track/{}", order.id)).await;
        if page.text.contains("Our team has to check your order") { Ok(()) } else { Err(page) }
    })
    .await;
    // The provider has no charge for this order, so the cancel needs no call.
    let before = shop.stripe().requests().await;
    web.cancel(&order).await;
    web.until_status(&order, "cancelled").await;
    assert_eq!(shop.stripe().requests().await, before);
    until("the mail about it is sent", async || {
        let sent = mails(&shop);
        if sent.contains("You have not been charged") { Ok(()) } else { Err(sent) }
    })
    .await;
    shop.stripe().answer_all().await;
    shop.close_with_dead_letters(&[(queues::PAYMENT_ORDER_CREATED, 1)]).await;
}

/// "To charge 5 ISK, provide an amount value of 500": 4998 would have charged 49.98 ISK.
#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_charged_and_refunded_in_stripes_units() {
    let mut shop = Shop::open_with_stripe().await;
    price(&shop, "MUG-BLUE", 4_998, "ISK").await;
    price(&shop, "BATTERY-BULK", 4_998, "ISK").await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let (shipped, refused) = (web.order("MUG-BLUE", 1, VISA).await, web.order("BATTERY-BULK", 1, VISA).await);
    web.until_status(&shipped, "shipped").await;
    web.until_status(&refused, "cancelled").await;
    let charge = (499_800, "isk".to_owned());
    assert_eq!(shop.stripe().amounts().await, [charge.clone(), charge]);
    assert_eq!(shop.stripe().refunded().await, [499_800]);
    // In our log, mails and pages, amounts are in whole krónur.
    assert_eq!(amounts(&shop, "payment.refunded").await, 4_998);
    assert!(mails(&shop).contains("4998 ISK"), "{}", mails(&shop));
    shop.close().await;
}
