//! Voids and refunds of the simulated payment provider. Each is one durable statement.

use std::sync::Arc;

use diesel::{
    OptionalExtension as _, QueryableByName,
    sql_types::{BigInt, Bool, Text},
};
use diesel_async::RunQueryDsl as _;
use orderflow_service::{
    provider_error::ProviderError,
    store::{ANSWER_WITHIN, Connection, Database, Prepare as _, StoreError},
};
use uuid::Uuid;

use super::{
    payment::{RefundRequest, VoidOutcome, VoidRequest},
    simulated_ledger::ledger,
};

#[derive(QueryableByName)]
struct Charge {
    #[diesel(sql_type = Text)]
    charge_id: String,
    #[diesel(sql_type = Bool)]
    succeeded: bool,
}

/// Voids a charge. A known charge keeps its outcome, unless it has only failed so far. An unknown charge is entered as
/// voided, so that a request in flight finds that.
const VOID: &str = "
INSERT INTO simulator.charges AS charge
    (idempotency_key, charge_id, reference, method, amount, currency, outcome, requests)
VALUES ($1, $2, $3, 'none', 0, $4, 'voided', 0)
ON CONFLICT (idempotency_key) DO UPDATE SET
    outcome = CASE WHEN charge.outcome = 'failing' THEN 'voided' ELSE charge.outcome END
RETURNING charge.charge_id, charge.outcome = 'succeeded' AS succeeded";

pub(super) async fn void(database: Arc<Database>, request: VoidRequest) -> Result<VoidOutcome, ProviderError> {
    let voiding = async move {
        let statement = diesel::sql_query(VOID)
            .bind::<Text, _>(request.idempotency_key)
            .bind::<Text, _>(format!("ch_sim_{}", Uuid::now_v7().simple()))
            .bind::<Text, _>(request.reference.to_string())
            .bind::<Text, _>(request.currency)
            .prepared();
        let asking = async |connection: &mut Connection| Ok::<_, StoreError>(statement.get_result(connection).await?);
        database.run(ANSWER_WITHIN, asking).await
    };
    let Charge { charge_id, succeeded } = ledger(voiding).await?;
    Ok(if succeeded { VoidOutcome::Charged { charge_id } } else { VoidOutcome::NotCharged })
}

#[derive(QueryableByName)]
struct Refund {
    #[diesel(sql_type = Text)]
    refund_id: String,
}

/// Refunds only successful charges, and only in full. Does not update a key that was used for another charge, and
/// therefore does not return it.
const REFUND: &str = "
INSERT INTO simulator.refunds AS refund (idempotency_key, refund_id, charge_id, amount, currency)
SELECT $1, $2, charge_id, amount, currency FROM simulator.charges
WHERE charge_id = $3 AND outcome = 'succeeded' AND amount = $4 AND currency = $5
ON CONFLICT (idempotency_key) DO UPDATE SET requests = refund.requests + 1
WHERE refund.charge_id = excluded.charge_id
RETURNING refund.refund_id";

pub(super) async fn refund(database: Arc<Database>, request: RefundRequest) -> Result<String, ProviderError> {
    let refunding = async move {
        let statement = diesel::sql_query(REFUND)
            .bind::<Text, _>(request.idempotency_key)
            .bind::<Text, _>(format!("re_sim_{}", Uuid::now_v7().simple()))
            .bind::<Text, _>(request.charge_id)
            .bind::<BigInt, _>(request.amount)
            .bind::<Text, _>(request.currency)
            .prepared();
        let asking = async |connection: &mut Connection| {
            Ok::<Option<Refund>, StoreError>(statement.get_result(connection).await.optional()?)
        };
        database.run(ANSWER_WITHIN, asking).await
    };
    let refund = ledger(refunding).await?;
    let refund = refund.ok_or_else(|| ProviderError::permanent("there is no such charge of that amount to refund"))?;
    Ok(refund.refund_id)
}
