//! A simulated payment provider, with some of the test cards of Stripe's test mode.
//!
//! Its ledger is in PostgreSQL, so that it is idempotent across processes and crashes like a real provider, and so that
//! tests can count charges. It is independent of our own transactions: every batch of charges is one durable statement
//! on a separate connection.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Integer, Text},
};
use diesel_async::RunQueryDsl as _;
use futures::{FutureExt as _, future::BoxFuture};
use orderflow_service::{
    group_commit::{GroupCommit, Limits},
    provider_error::ProviderError,
    store::{ANSWER_WITHIN, Connection, Database, Prepare as _, StoreError},
};
use uuid::Uuid;

use super::{
    payment::{ChargeOutcome, ChargeRequest, PaymentProvider, RefundRequest, VoidOutcome, VoidRequest},
    simulated_ledger::ledger_failed,
    simulated_refund,
};

/// One committer writes while the next batch gathers. The queue holds far more requests than the payment handler has in
/// flight. The deadline is shorter than the handler's time-out, so that the more precise error is reported.
const LIMITS: Limits = Limits { committers: 2, batch: 256, waiting: 4096, deadline: Duration::from_secs(8) };

/// The most connections to a ledger in a separate database: one per committer, and some for voids and refunds.
pub const LEDGER_CONNECTIONS: usize = 8;

/// The number of times that `pm_card_flaky` fails before it succeeds, per idempotency key.
const FLAKY_FAILURES: i32 = 2;

/// The simulated payment provider.
#[derive(Debug)]
pub struct SimulatedPayment {
    ledger: GroupCommit<ChargeRequest, Answer>,
    /// For voids and refunds. They are few, so they are not batched.
    database: Arc<Database>,
}

type Answer = Result<ChargeOutcome, ProviderError>;

impl SimulatedPayment {
    /// Starts the tasks that write the ledger, on the current tokio runtime. They end when this value is dropped.
    #[must_use]
    pub fn start(database: Database) -> Self {
        let database = Arc::new(database);
        let its = Arc::clone(&database);
        let ledger = GroupCommit::start(LIMITS, move |requests| charge_all(Arc::clone(&its), requests));
        Self { ledger, database }
    }
}

impl PaymentProvider for SimulatedPayment {
    fn charge(&self, request: ChargeRequest) -> BoxFuture<'_, Answer> {
        async move {
            self.ledger.submit(request).await.unwrap_or_else(|no_answer| {
                Err(ProviderError::unavailable(format!("the simulated payment provider: {no_answer}")))
            })
        }
        .boxed()
    }

    fn void(&self, request: VoidRequest) -> BoxFuture<'_, Result<VoidOutcome, ProviderError>> {
        simulated_refund::void(Arc::clone(&self.database), request).boxed()
    }

    fn refund(&self, request: RefundRequest) -> BoxFuture<'_, Result<String, ProviderError>> {
        simulated_refund::refund(Arc::clone(&self.database), request).boxed()
    }
}

/// Answers every request of a batch, in the same order.
async fn charge_all(database: Arc<Database>, requests: Vec<ChargeRequest>) -> Vec<Answer> {
    let merged = merge(&requests);
    match enter(&database, &merged).await {
        Ok(charges) => answer(&requests, &merged, &charges),
        Err(error) => {
            let failed = ledger_failed(&error);
            requests.iter().map(|_| Err(failed.clone())).collect()
        }
    }
}

/// A key's first request in a batch, and how many times the batch contains it.
struct Merged<'a> {
    request: &'a ChargeRequest,
    times: i32,
}

/// Merges a batch into one entry per key, since a statement cannot touch a row twice. The keys are sorted, so that all
/// batches lock in the same order. A request that differs from its key's first is left out; [`answer`] refuses it.
fn merge(requests: &[ChargeRequest]) -> BTreeMap<&str, Merged<'_>> {
    let mut merged: BTreeMap<&str, Merged<'_>> = BTreeMap::new();
    for request in requests {
        match merged.entry(&request.idempotency_key) {
            Entry::Vacant(vacant) => {
                vacant.insert(Merged { request, times: 1 });
            }
            Entry::Occupied(mut occupied) if occupied.get().request == request => occupied.get_mut().times += 1,
            Entry::Occupied(_) => {}
        }
    }
    merged
}

#[derive(QueryableByName)]
struct Charge {
    #[diesel(sql_type = Text)]
    idempotency_key: String,
    #[diesel(sql_type = Text)]
    charge_id: String,
    /// How many times the key was requested, including this batch.
    #[diesel(sql_type = Integer)]
    requests: i32,
    /// Voided before it happened.
    #[diesel(sql_type = Bool)]
    voided: bool,
}

/// Does not update a key that was used for another charge, and therefore does not return it.
const ENTER: &str = "
INSERT INTO simulator.charges AS charge
    (idempotency_key, charge_id, reference, method, amount, currency, outcome, requests)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::int[])
ON CONFLICT (idempotency_key) DO UPDATE SET
    requests = charge.requests + excluded.requests,
    outcome = CASE WHEN charge.outcome = 'failing' AND charge.requests + excluded.requests > $9
                   THEN 'succeeded' ELSE charge.outcome END
WHERE charge.outcome = 'voided' OR (charge.reference, charge.method, charge.amount, charge.currency)
    = (excluded.reference, excluded.method, excluded.amount, excluded.currency)
RETURNING charge.idempotency_key, charge.charge_id, charge.requests, charge.outcome = 'voided' AS voided";

/// Writes a batch into the ledger and returns the state of its keys.
async fn enter(
    database: &Database,
    merged: &BTreeMap<&str, Merged<'_>>,
) -> Result<HashMap<String, Charge>, StoreError> {
    let column = |read: fn(&Merged<'_>) -> String| merged.values().map(read).collect::<Vec<_>>();
    let entering = diesel::sql_query(ENTER)
        .bind::<Array<Text>, _>(column(|one| one.request.idempotency_key.clone()))
        .bind::<Array<Text>, _>(column(|_| format!("ch_sim_{}", Uuid::now_v7().simple())))
        .bind::<Array<Text>, _>(column(|one| one.request.reference.to_string()))
        .bind::<Array<Text>, _>(column(|one| one.request.method.clone()))
        .bind::<Array<BigInt>, _>(merged.values().map(|one| one.request.amount).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(column(|one| one.request.currency.clone()))
        .bind::<Array<Text>, _>(column(|one| Verdict::of(&one.request.method, one.times).as_str().to_owned()))
        .bind::<Array<Integer>, _>(merged.values().map(|one| one.times).collect::<Vec<_>>())
        .bind::<Integer, _>(FLAKY_FAILURES)
        .prepared();
    let asking = async |connection: &mut Connection| Ok::<_, StoreError>(entering.load(connection).await?);
    let charges: Vec<Charge> = database.run(ANSWER_WITHIN, asking).await?;
    Ok(charges.into_iter().map(|charge| (charge.idempotency_key.clone(), charge)).collect())
}

/// The result of charging a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Succeeded,
    Declined(&'static str),
    Failing,
}

impl Verdict {
    /// Returns the result of a card's `nth` request with one key, counted from 1.
    fn of(method: &str, nth: i32) -> Self {
        match method {
            "pm_card_visa" => Self::Succeeded,
            "pm_card_visa_chargeDeclined" => Self::Declined("card_declined"),
            "pm_card_flaky" if nth <= FLAKY_FAILURES => Self::Failing,
            "pm_card_flaky" => Self::Succeeded,
            // A typing error in a demonstration must not look like a successful charge.
            _ => Self::Declined("unknown_payment_method"),
        }
    }

    /// Returns the value in the ledger.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Declined(_) => "declined",
            Self::Failing => "failing",
        }
    }
}

/// Returns the answer to each request, by the state of its key in the ledger. Equal requests in one batch get the same
/// answers as if they had been made one after another.
fn answer(
    requests: &[ChargeRequest],
    merged: &BTreeMap<&str, Merged<'_>>,
    charges: &HashMap<String, Charge>,
) -> Vec<Answer> {
    let mut answered: HashMap<&str, i32> = HashMap::new();
    requests
        .iter()
        .map(|request| {
            let key = request.idempotency_key.as_str();
            let Some(entered) = merged.get(key).filter(|entered| entered.request == request) else {
                // A retry decides which of the two requests owns the key.
                return Err(ProviderError::transient("the idempotency key is being used for another charge"));
            };
            let Some(charge) = charges.get(key) else {
                return Err(ProviderError::permanent("the idempotency key was used for another charge"));
            };
            if charge.voided {
                return Ok(ChargeOutcome::Voided);
            }
            let place = answered.entry(key).or_insert(0);
            *place += 1;
            match Verdict::of(&request.method, charge.requests - entered.times + *place) {
                Verdict::Succeeded => Ok(ChargeOutcome::Succeeded { charge_id: charge.charge_id.clone() }),
                Verdict::Declined(reason) => Ok(ChargeOutcome::Declined { reason: reason.to_owned() }),
                Verdict::Failing => Err(ProviderError::transient("the simulated card failed temporarily")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str, method: &str, amount: i64) -> ChargeRequest {
        ChargeRequest {
            idempotency_key: key.to_owned(),
            reference: Uuid::nil(),
            method: method.to_owned(),
            amount,
            currency: "EUR".to_owned(),
        }
    }

    /// Returns the answers to a batch if the ledger has each of its keys from `before` earlier requests.
    fn answers_to(requests: &[ChargeRequest], before: i32) -> Vec<Answer> {
        let merged = merge(requests);
        let charges = merged.iter().map(|(key, one)| {
            let charge = Charge {
                idempotency_key: (*key).to_owned(),
                charge_id: "ch_sim_1".to_owned(),
                requests: before + one.times,
                voided: false,
            };
            ((*key).to_owned(), charge)
        });
        answer(requests, &merged, &charges.collect())
    }

    #[test]
    fn equal_requests_of_a_batch_are_merged_into_one_row_that_counts_them() {
        let requests =
            [request("b", "pm_card_visa", 1), request("a", "pm_card_visa", 1), request("b", "pm_card_visa", 1)];
        let merged: Vec<_> = merge(&requests).into_iter().map(|(key, one)| (key, one.times)).collect();
        assert_eq!(merged, [("a", 1), ("b", 2)]);
    }

    #[test]
    fn reused_key_with_another_amount_is_refused_and_changes_nothing() {
        let requests = [request("a", "pm_card_visa", 1), request("a", "pm_card_visa", 2)];
        assert_eq!(merge(&requests).get("a").map(|one| one.times), Some(1));
        let answers = answers_to(&requests, 0);
        assert!(matches!(answers[0], Ok(ChargeOutcome::Succeeded { .. })));
        assert!(matches!(answers[1], Err(ProviderError::Transient { .. })), "the first request may be the invalid one");
        let (alone, nothing_returned) = ([request("a", "pm_card_visa", 2)], HashMap::new());
        assert!(matches!(answer(&alone, &merge(&alone), &nothing_returned)[0], Err(ProviderError::Permanent { .. })));
    }

    #[test]
    fn flaky_card_fails_twice_per_key_and_then_succeeds() {
        let successes = |before, times| {
            let batch = vec![request("a", "pm_card_flaky", 1); times];
            answers_to(&batch, before).into_iter().map(|answer| answer.is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(successes(0, 1), [false]);
        assert_eq!(successes(1, 2), [false, true]);
        assert_eq!(successes(0, 4), [false, false, true, true]);
        assert_eq!(successes(7, 1), [true]);
    }

    #[test]
    fn declined_and_unknown_cards_are_declined() {
        assert_eq!(Verdict::of("pm_card_visa_chargeDeclined", 1), Verdict::Declined("card_declined"));
        assert_eq!(Verdict::of("pm_card_vissa", 1), Verdict::Declined("unknown_payment_method"));
    }
}
