//! Checks docs/PROVIDERS.md line by line: the Stripe client receives every answer listed and must reach the listed
//! outcome.

use std::sync::Arc;

use orderflow_service::provider_error::ProviderError;
use orderflow_tests::{Stripe as Fake, VISA, project::read};
use orderflow_worker::{
    providers::StripeConfig,
    providers::{
        Stripe,
        payment::{ChargeOutcome, ChargeRequest, PaymentProvider as _, RefundRequest, VoidRequest},
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stripe_calls::Memory;

const CALLS: [&str; 6] = ["create", "read", "confirm", "cancel", "refunds", "refund"];

/// Returns the cells of the table under a heading.
fn table(heading: &str) -> Vec<Vec<String>> {
    let document = read("docs/PROVIDERS.md");
    let part = document.split(&format!("### {heading}\n")).nth(1).unwrap_or_else(|| panic!("there is no {heading:?}"));
    let part = part.split("\n#").next().unwrap_or_default();
    let rows = part.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells: Vec<Vec<String>> = rows.map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect()).collect();
    assert!(cells.len() > 3, "{heading} has too few lines: {cells:?}");
    cells.into_iter().skip(1).collect()
}

/// Returns the texts between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Returns the word in bold.
fn outcome(cell: &str) -> &str {
    cell.split("**").nth(1).unwrap_or_else(|| panic!("{cell:?} names no outcome"))
}

/// One order's calls to the provider.
struct Order<'f> {
    fake: &'f Fake,
    stripe: Stripe,
    memory: Arc<Memory>,
    id: Uuid,
}

impl<'f> Order<'f> {
    fn new(fake: &'f Fake) -> Self {
        let memory = Arc::new(Memory::default());
        let config = StripeConfig { base: fake.base().parse().expect("a URL"), key: "sk_test_hush".into() };
        let stripe = Stripe::new(&config, Arc::<Memory>::clone(&memory)).expect("a client");
        Self { fake, stripe, memory, id: Uuid::now_v7() }
    }

    async fn charge(&self, method: &str) -> Result<ChargeOutcome, ProviderError> {
        let request = ChargeRequest {
            idempotency_key: format!("charge-{}", self.id),
            reference: self.id,
            method: method.to_owned(),
            amount: 1499,
            currency: "EUR".to_owned(),
        };
        self.stripe.charge(request).await
    }

    /// Creates an intent that is recorded but not confirmed, and returns its id.
    async fn intent(&self) -> String {
        self.charge("pm_card_flaky").await.expect_err("it fails twice");
        self.memory.of(self.id).expect("it is remembered")
    }

    /// Returns the client's outcome for this answer to this call, in the document's words, and the reason for a
    /// decline.
    async fn given(&self, call: &str, status: u16, body: &Value) -> (&'static str, Option<String>) {
        match call {
            "create" | "confirm" => {}
            "read" | "cancel" => drop(self.intent().await),
            _ => drop(self.charge(VISA).await.expect("it is charged")),
        }
        self.fake.answer(call, status, body).await;
        let outcome = match call {
            "create" | "confirm" | "read" => self.charge(VISA).await.map(Some),
            "cancel" => {
                let (idempotency_key, currency) = (format!("charge-{}", self.id), "EUR".to_owned());
                let request = VoidRequest { idempotency_key, reference: self.id, amount: 1499, currency };
                self.stripe.void(request).await.map(|_| None)
            }
            _ => {
                let charge_id = self.memory.of(self.id).expect("it is remembered");
                let (idempotency_key, currency) = (format!("refund-{}", self.id), "EUR".to_owned());
                let request = RefundRequest { idempotency_key, charge_id, amount: 1499, currency };
                self.stripe.refund(request).await.map(|_| None)
            }
        };
        self.fake.answer_all().await;
        match outcome {
            Ok(Some(ChargeOutcome::Succeeded { .. })) => ("paid", None),
            Ok(Some(ChargeOutcome::Declined { reason })) => ("declined", Some(reason)),
            Ok(Some(ChargeOutcome::Voided)) => ("voided", None),
            Ok(None) => ("done", None),
            Err(ProviderError::Unavailable { .. }) => ("paused", None),
            Err(ProviderError::Transient { .. }) => ("retried", None),
            Err(ProviderError::Permanent { .. }) => ("dead letter", None),
        }
    }
}

/// Returns the errors that a line of the document describes.
fn examples(error: &str) -> Vec<Value> {
    let kind = "invalid_request_error";
    let names: Vec<String> = quoted(error).iter().map(|name| name.replace('*', "of_next_year")).collect();
    if error.starts_with("any") {
        return vec![json!({ "type": kind, "code": "of_next_year" })];
    }
    if let Some((_, param)) = error.split_once(", parameter ") {
        return vec![json!({ "type": kind, "code": names[0], "param": quoted(param)[0] })];
    }
    match error.split_once(' ') {
        Some(("code", _)) => names.iter().map(|code| json!({ "type": kind, "code": code })).collect(),
        Some(("parameter", _)) => names.iter().map(|param| json!({ "type": kind, "param": param })).collect(),
        Some(("type", _)) => vec![json!({ "type": names[0], "message": "The provided PaymentMethod was used." })],
        _ => panic!("no example for the error {error:?}"),
    }
}

fn status(cell: &str) -> u16 {
    match cell {
        "5xx" => 503,
        "4xx" => 400,
        "any" => 404,
        number => number.split(',').next().and_then(|one| one.parse().ok()).expect("a status"),
    }
}

/// Every order reaches an outcome: whatever Stripe answers, each charge, void and refund ends in one of the
/// document's outcomes.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_in_the_document_has_its_outcome() {
    let fake = Fake::start().await;
    let lines = table("Refusals");
    let mut given = 0;
    for (index, line) in lines.iter().enumerate() {
        let [calls, http, error, follows] = line.as_slice() else { panic!("{line:?}") };
        // `stripe::stored_error_is_bypassed_and_the_card_charged_once` covers the case that only a header reveals.
        if error.starts_with("stored") {
            continue;
        }
        // The first matching line decides. A line for one call overrides a later one for all calls.
        let is_said =
            |call: &str| lines[..index].iter().any(|one| one[0] == call && one[1] == *http && one[2] == *error);
        let named: Vec<&str> = calls.split(", ").collect();
        let calls = CALLS.iter().filter(|call| named == ["all"] && !is_said(call) || named.contains(call));
        for (place, call) in calls.enumerate() {
            // The first call tries every code, the others only one.
            let take = if place == 0 { usize::MAX } else { 1 };
            for error in examples(error).into_iter().take(take) {
                let expected = match outcome(follows) {
                    "declined" => {
                        let code = error["code"].as_str().unwrap_or("card_declined").to_owned();
                        ("declined", Some(quoted(follows).first().map_or(code, ToString::to_string)))
                    }
                    // In this test, a repeated call gets the same answer, and a look-up finds that the call had no
                    // effect.
                    "new key" | "looked up" => ("retried", None),
                    "retried" => ("retried", None),
                    "paused" => ("paused", None),
                    "dead letter" => ("dead letter", None),
                    other => panic!("{other:?} is not an outcome"),
                };
                let outcome = Order::new(&fake).given(call, status(http), &json!({ "error": error })).await;
                assert_eq!(outcome, expected, "{call} {http} {error}");
                given += 1;
            }
        }
    }
    assert!(given > 60, "only {given} answers were given");
}

/// Reading the intent reveals the rest: the outcome behind a lost answer, and what another worker has done.
#[tokio::test(flavor = "multi_thread")]
async fn every_status_in_the_document_has_its_outcome() {
    let fake = Fake::start().await;
    for line in table("A payment intent, by its status") {
        let [statuses, error, cancelled, follows] = line.as_slice() else { panic!("{line:?}") };
        let mut names = quoted(statuses);
        if statuses.contains("any other") {
            names.push("of_next_year");
        }
        for name in names {
            let order = Order::new(&fake);
            let id = order.intent().await;
            let reason = match cancelled.as_str() {
                "any other" => json!("requested_by_customer"),
                reason => json!(quoted(reason).first()),
            };
            let declined = json!({ "code": "card_declined", "decline_code": "insufficient_funds" });
            let intent = json!({
                "id": id, "amount": 1499, "currency": "eur", "status": name, "cancellation_reason": reason,
                "last_payment_error": (error == "one").then_some(declined),
            });
            fake.answer("read", 200, &intent).await;
            let outcome_now = order.charge(VISA).await;
            fake.answer_all().await;
            let expected = match (outcome(follows), quoted(follows).first()) {
                ("confirmed" | "paid", _) => Ok(ChargeOutcome::Succeeded { charge_id: id }),
                ("declined", reason) => {
                    let reason = reason.map_or("insufficient_funds", |reason| *reason).to_owned();
                    Ok(ChargeOutcome::Declined { reason })
                }
                ("voided", _) => Ok(ChargeOutcome::Voided),
                ("retried", _) => {
                    assert!(matches!(outcome_now, Err(ProviderError::Transient { .. })), "{name}: {outcome_now:?}");
                    continue;
                }
                (other, _) => panic!("{other:?} is not an outcome"),
            };
            assert_eq!(outcome_now, expected, "{name} {error} {cancelled}");
        }
    }
}
