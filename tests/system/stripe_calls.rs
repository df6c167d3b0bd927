//! The Stripe client call by call, at moments that a whole shop cannot hit on purpose.

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

/// A memory that a test can read, and in which another worker may be faster.
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

    /// Creates and records an intent whose outcome is unknown, and returns its id.
    async fn remembered(&self) -> String {
        // No confirmation gets a usable answer.
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
async fn outcome_of_an_unanswered_confirmation_is_looked_up() {
    for mode in ["error_after", "garbage"] {
        let scene = Scene::new().await;
        let intent = scene.remembered().await;
        // The third confirmation, if reached, charges the card and gets no answer.
        scene.charge("pm_card_flaky").await.expect_err("it fails twice");
        let card_is_charged = async {
            // About half of the look-ups succeed, and half of the confirmations.
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
async fn repeated_charge_after_a_failed_record_charges_once() {
    let scene = Scene::new().await;
    let first = scene.charge(VISA).await;
    assert!(matches!(first, Ok(ChargeOutcome::Succeeded { .. })), "{first:?}");
    let again = scene.charge(VISA).await;
    assert_eq!(scene.fake.charged().await, Charged { intents: 1, charges: 1, refunds: 0 });
    assert_eq!(again, first);
}

#[tokio::test]
async fn voids_and_charges_are_permanent() {
    let scene = Scene::new().await;
    assert_eq!(scene.void().await, Ok(VoidOutcome::NotCharged));
    for _ in 0..2 {
        assert_eq!(scene.charge(VISA).await, Ok(ChargeOutcome::Voided));
        assert_eq!(scene.void().await, Ok(VoidOutcome::NotCharged));
    }
    assert_eq!(scene.fake.charged().await, Charged { intents: 0, charges: 0, refunds: 0 }, "no intent was requested");

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
async fn decline_is_permanent_even_for_a_late_confirmation() {
    for (card, reason) in [(DECLINED, "card_declined"), ("pm_card_authenticationRequired", "authentication_required")] {
        let scene = Scene::new().await;
        let declined = Ok(ChargeOutcome::Declined { reason: reason.to_owned() });
        assert_eq!(scene.charge(card).await, declined);
        assert_eq!(scene.fake.statuses(&scene.order.to_string()).await, ["canceled"]);
        // A repeated call, as after a crash, gets the same answer, even if the card is valid by now.
        assert_eq!(scene.charge(VISA).await, declined);
        assert_eq!(scene.void().await, Ok(VoidOutcome::NotCharged));
        assert_eq!(scene.fake.charged().await.charges, 0);
    }
    let scene = Scene::new().await;
    let unknown = Ok(ChargeOutcome::Declined { reason: "unknown_payment_method".to_owned() });
    assert_eq!((scene.charge("pm_card_vissa").await, scene.charge("pm_card_vissa").await), (unknown.clone(), unknown));
}

#[tokio::test]
async fn first_recorded_of_two_intents_counts() {
    let scene = Scene::new().await;
    // Another worker creates its own intent under another key, slightly earlier.
    let theirs = Arc::new(Memory::default());
    let mut request = scene.request("pm_card_flaky");
    request.idempotency_key.push_str("-of-another");
    client(&scene.fake, "sk_test_hush", &theirs).charge(request).await.expect_err("it fails twice");
    let first = theirs.of(scene.order).expect("it is remembered");
    *scene.memory.faster.lock().expect("no panic") = Some(first.clone());
    assert_eq!(scene.charge(VISA).await, charged(&first));
    let mut statuses = scene.fake.statuses(&scene.order.to_string()).await;
    statuses.sort_unstable();
    assert_eq!(statuses, ["canceled", "succeeded"], "the other intent can never be charged");
}

#[tokio::test]
async fn intent_with_another_amount_is_a_permanent_error() {
    let scene = Scene::new().await;
    scene.remembered().await;
    let mut request = scene.request(VISA);
    request.amount += 1;
    let refused = scene.stripe.charge(request).await;
    assert!(matches!(refused, Err(ProviderError::Permanent { .. })), "{refused:?}");
    assert_eq!(scene.fake.charged().await.charges, 0);
}

#[tokio::test]
async fn reused_idempotency_key_does_not_prevent_the_charge() {
    let scene = Scene::new().await;
    let mut request = scene.request(VISA);
    request.amount += 1;
    // An earlier user of the key made the intent, which is not recorded.
    let elsewhere = client(&scene.fake, "sk_test_hush", &Arc::default());
    elsewhere.charge(request).await.expect("it is charged");
    let outcome = scene.charge(VISA).await;
    assert!(matches!(outcome, Ok(ChargeOutcome::Succeeded { .. })), "{outcome:?}");
}

#[tokio::test]
async fn refund_is_made_once_whatever_the_answers() {
    let scene = Scene::new().await;
    scene.charge(VISA).await.expect("it is charged");
    let charge_id = scene.memory.of(scene.order).expect("it is remembered");
    scene.fake.fail("error_after", 1.0).await;
    scene.refund(&charge_id).await.expect_err("the look-up fails");
    scene.fake.fail("garbage", 0.5).await;
    for _ in 0..20 {
        drop(scene.refund(&charge_id).await);
    }
    scene.fake.fail("none", 0.0).await;
    let refund = scene.refund(&charge_id).await.expect("it is refunded");
    assert_eq!(scene.refund(&charge_id).await, Ok(refund));
    assert_eq!(scene.fake.charged().await, Charged { intents: 1, charges: 1, refunds: 1 });
    let unknown = scene.refund("pi_of_nobody").await;
    assert!(matches!(unknown, Err(ProviderError::Transient { .. })), "{unknown:?}");
}

#[tokio::test]
async fn provider_that_is_down_or_refuses_our_key_is_unavailable() {
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
