//! The client for Stripe call by call, at the moments that no whole shop hits on purpose.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures::{FutureExt as _, future::BoxFuture};
use orderflow_service::provider_error::ProviderError;
use orderflow_tests::{Charged, DECLINED, Stripe as Fake, VISA};
use orderflow_worker::{
    providers::StripeConfig,
    providers::{
        IntentMemory, NoMemory, Stripe,
        payment::{ChargeOutcome, ChargeRequest, PaymentProvider as _, RefundRequest, VoidOutcome, VoidRequest},
    },
};
use uuid::Uuid;

/// A memory that a test can look into, and in which somebody else may be faster.
#[derive(Default)]
pub struct Memory {
    known: Mutex<HashMap<Uuid, String>>,
    faster: Mutex<Option<String>>,
}

impl Memory {
    pub fn of(&self, order: Uuid) -> Option<String> {
        self.known.lock().expect("no panic").get(&order).cloned()
    }
}

impl IntentMemory for Memory {
    fn recall(&self, order: Uuid) -> BoxFuture<'_, Result<Option<String>, NoMemory>> {
        async move { Ok(self.of(order)) }.boxed()
    }

    fn remember(&self, order: Uuid, intent: String) -> BoxFuture<'_, Result<String, NoMemory>> {
        async move {
            let first = self.faster.lock().expect("no panic").take().unwrap_or(intent);
            Ok(self.known.lock().expect("no panic").entry(order).or_insert(first).clone())
        }
        .boxed()
    }
}

struct Scene {
    fake: Fake,
    memory: Arc<Memory>,
    stripe: Stripe,
    order: Uuid,
}

impl Scene {
    async fn new() -> Self {
        let fake = Fake::start().await;
        let memory = Arc::new(Memory::default());
        let stripe = client(&fake, "sk_test_hush", &memory);
        Self { fake, memory, stripe, order: Uuid::now_v7() }
    }

    fn request(&self, method: &str) -> ChargeRequest {
        ChargeRequest {
            idempotency_key: format!("charge-{}", self.order),
            reference: self.order,
            method: method.to_owned(),
            amount: 1499,
            currency: "EUR".to_owned(),
        }
    }

    async fn charge(&self, method: &str) -> Result<ChargeOutcome, ProviderError> {
        self.stripe.charge(self.request(method)).await
    }

    async fn void(&self) -> Result<VoidOutcome, ProviderError> {
        let ChargeRequest { idempotency_key, reference, amount, currency, .. } = self.request(VISA);
        self.stripe.void(VoidRequest { idempotency_key, reference, amount, currency }).await
    }

    async fn refund(&self, charge_id: &str) -> Result<String, ProviderError> {
        let idempotency_key = format!("refund-{}", self.order);
        let request = RefundRequest {
            idempotency_key,
            charge_id: charge_id.to_owned(),
            amount: 1499,
            currency: "EUR".to_owned(),
        };
        self.stripe.refund(request).await
    }

    /// Has an intent made and remembered, of which nothing more is known.
    async fn remembered(&self) -> String {
        // No answer of the confirmation is one that says anything.
        let unknown = self.charge("pm_card_flaky").await;
        assert!(matches!(unknown, Err(ProviderError::Unavailable { .. })), "{unknown:?}");
        self.memory.of(self.order).expect("it is remembered")
    }
}

fn client(fake: &Fake, key: &str, memory: &Arc<Memory>) -> Stripe {
    let config = StripeConfig { base: fake.base().parse().expect("a URL"), key: key.into() };
    Stripe::new(&config, Arc::<Memory>::clone(memory)).expect("a client")
}

fn charged(charge_id: &str) -> Result<ChargeOutcome, ProviderError> {
    Ok(ChargeOutcome::Succeeded { charge_id: charge_id.to_owned() })
}

#[tokio::test]
async fn what_became_of_a_confirmation_without_an_answer_is_looked_up() {
    for mode in ["error_after", "garbage"] {
        let scene = Scene::new().await;
        let intent = scene.remembered().await;
        // The third confirmation charges the card, if it comes to that, and is not answered.
        scene.charge("pm_card_flaky").await.expect_err("it fails twice");
        let card_is_charged = async {
            // The look goes through about every other time, and so does the confirmation.
            scene.fake.fail(mode, 0.5).await;
            for _ in 0..100 {
                if scene.charge("pm_card_flaky").await == charged(&intent) {
                    return;
                }
            }
            panic!("it is never charged");
        };
        card_is_charged.await;
        scene.fake.fail("none", 0.0).await;
        assert_eq!(scene.charge("pm_card_flaky").await, charged(&intent), "{mode}");
        assert_eq!(scene.fake.charged().await, Charged { intents: 1, charges: 1, refunds: 0 }, "{mode}");
    }
}

#[tokio::test]
async fn what_is_charged_is_not_charged_again_when_it_could_not_be_recorded() {
    let scene = Scene::new().await;
    let first = scene.charge(VISA).await;
    assert!(matches!(first, Ok(ChargeOutcome::Succeeded { .. })), "{first:?}");
    let again = scene.charge(VISA).await;
    assert_eq!(scene.fake.charged().await, Charged { intents: 1, charges: 1, refunds: 0 });
    assert_eq!(again, first);
}

#[tokio::test]
async fn what_is_voided_stays_so_and_what_is_charged_too() {
    let scene = Scene::new().await;
    assert_eq!(scene.void().await, Ok(VoidOutcome::NotCharged));
    for _ in 0..2 {
        assert_eq!(scene.charge(VISA).await, Ok(ChargeOutcome::Voided));
        assert_eq!(scene.void().await, Ok(VoidOutcome::NotCharged));
    }
    assert_eq!(scene.fake.charged().await, Charged { intents: 0, charges: 0, refunds: 0 }, "it was never asked for");

    let scene = Scene::new().await;
    let intent = scene.remembered().await;
    assert_eq!(scene.void().await, Ok(VoidOutcome::NotCharged));
    assert_eq!(scene.charge(VISA).await, Ok(ChargeOutcome::Voided));
    assert_eq!(scene.memory.of(scene.order), Some(intent));

    let scene = Scene::new().await;
    scene.charge(VISA).await.expect("it is charged");
    let charge_id = scene.memory.of(scene.order).expect("it is remembered");
    assert_eq!(scene.void().await, Ok(VoidOutcome::Charged { charge_id: charge_id.clone() }));
    assert_eq!(scene.charge(VISA).await, charged(&charge_id));
}

#[tokio::test]
async fn a_decline_is_for_good_also_for_a_confirmation_that_comes_late() {
    for (card, reason) in [(DECLINED, "card_declined"), ("pm_card_authenticationRequired", "authentication_required")] {
        let scene = Scene::new().await;
        let declined = Ok(ChargeOutcome::Declined { reason: reason.to_owned() });
        assert_eq!(scene.charge(card).await, declined);
        assert_eq!(scene.fake.statuses(&scene.order.to_string()).await, ["canceled"]);
        // Asked again, as after a crash: the same answer, also where the card would be good by now.
        assert_eq!(scene.charge(VISA).await, declined);
        assert_eq!(scene.void().await, Ok(VoidOutcome::NotCharged));
        assert_eq!(scene.fake.charged().await.charges, 0);
    }
    let scene = Scene::new().await;
    let unknown = Ok(ChargeOutcome::Declined { reason: "unknown_payment_method".to_owned() });
    assert_eq!((scene.charge("pm_card_vissa").await, scene.charge("pm_card_vissa").await), (unknown.clone(), unknown));
}

#[tokio::test]
async fn of_two_intents_the_one_that_was_remembered_first_counts() {
    let scene = Scene::new().await;
    // Another worker makes its own, under another key, and is faster by a moment.
    let theirs = Arc::new(Memory::default());
    let mut request = scene.request("pm_card_flaky");
    request.idempotency_key.push_str("-of-another");
    client(&scene.fake, "sk_test_hush", &theirs).charge(request).await.expect_err("it fails twice");
    let first = theirs.of(scene.order).expect("it is remembered");
    *scene.memory.faster.lock().expect("no panic") = Some(first.clone());
    assert_eq!(scene.charge(VISA).await, charged(&first));
    let mut statuses = scene.fake.statuses(&scene.order.to_string()).await;
    statuses.sort_unstable();
    assert_eq!(statuses, ["canceled", "succeeded"], "the other one can never be charged");
}

#[tokio::test]
async fn an_intent_of_other_money_is_an_error_for_good() {
    let scene = Scene::new().await;
    scene.remembered().await;
    let mut request = scene.request(VISA);
    request.amount += 1;
    let refused = scene.stripe.charge(request).await;
    assert!(matches!(refused, Err(ProviderError::ForGood { .. })), "{refused:?}");
    assert_eq!(scene.fake.charged().await.charges, 0);
}

#[tokio::test]
async fn a_key_that_stands_for_something_else_by_now_makes_no_difference() {
    let scene = Scene::new().await;
    let mut request = scene.request(VISA);
    request.amount += 1;
    // Made by whoever had the key before, and not remembered.
    let elsewhere = client(&scene.fake, "sk_test_hush", &Arc::default());
    elsewhere.charge(request).await.expect("it is charged");
    let outcome = scene.charge(VISA).await;
    assert!(matches!(outcome, Ok(ChargeOutcome::Succeeded { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_refund_is_made_once_whatever_is_answered() {
    let scene = Scene::new().await;
    scene.charge(VISA).await.expect("it is charged");
    let charge_id = scene.memory.of(scene.order).expect("it is remembered");
    scene.fake.fail("error_after", 1.0).await;
    scene.refund(&charge_id).await.expect_err("the look fails");
    scene.fake.fail("garbage", 0.5).await;
    for _ in 0..20 {
        drop(scene.refund(&charge_id).await);
    }
    scene.fake.fail("none", 0.0).await;
    let refund = scene.refund(&charge_id).await.expect("it is refunded");
    assert_eq!(scene.refund(&charge_id).await, Ok(refund));
    assert_eq!(scene.fake.charged().await, Charged { intents: 1, charges: 1, refunds: 1 });
    let unknown = scene.refund("pi_of_nobody").await;
    assert!(matches!(unknown, Err(ProviderError::Passing { .. })), "{unknown:?}");
}

#[tokio::test]
async fn a_provider_that_is_away_or_refuses_our_key_is_away() {
    let mut scene = Scene::new().await;
    let wrong = client(&scene.fake, "sk_live_hush", &scene.memory).charge(scene.request(VISA)).await;
    let said = format!("{wrong:?}");
    assert!(matches!(wrong, Err(ProviderError::Unavailable { .. })) && !said.contains("hush"), "{said}");
    scene.fake.fail("rate_limited", 1.0).await;
    let limited = scene.charge(VISA).await;
    let second = Some(std::time::Duration::from_secs(1));
    assert!(
        matches!(&limited, Err(ProviderError::Unavailable { retry_after, .. }) if *retry_after == second),
        "{limited:?}"
    );
    scene.fake.kill().await;
    let nobody = scene.charge(VISA).await;
    assert!(matches!(nobody, Err(ProviderError::Unavailable { .. })), "{nobody:?}");
    scene.fake.restart().await;
    assert!(matches!(scene.charge(VISA).await, Ok(ChargeOutcome::Succeeded { .. })));
}
