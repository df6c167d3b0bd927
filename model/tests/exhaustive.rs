//! Every path that an order can take, with a crash anywhere: none does harm, and without any one safeguard one does.

use orderflow_model::{Safeguard, order::OrderModel, stock::StockModel};
use stateright::{Checker as _, HasDiscoveries, Model};

/// Explores every state, and checks that each property holds.
fn holds(faults: u8) {
    let checker = OrderModel { faults, without: None }.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.is_done(), "not every state was explored");
    // A model in which little can happen proves little: with a missing step the number would be far smaller.
    assert!(checker.unique_state_count() > 60_000, "only {} states", checker.unique_state_count());
}

#[test]
fn an_order_ends_well_whatever_happens_once() {
    holds(1);
}

#[test]
#[ignore = "15 million states: only in the full suite"]
fn an_order_ends_well_whatever_happens_twice() {
    holds(2);
}

/// Checks that leaving a safeguard out leads to this harm.
fn harm<M>(model: M, harm: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Send + Sync + std::hash::Hash + std::fmt::Debug + PartialEq + Clone,
    M::Action: Send + Sync + std::fmt::Debug + PartialEq + Clone,
{
    let found = HasDiscoveries::AllOf([harm].into());
    let checker = model.checker().threads(2).finish_when(found).spawn_bfs().join();
    checker.assert_any_discovery(harm);
}

fn order_without(safeguard: Safeguard) -> OrderModel {
    OrderModel { faults: 1, without: Some(safeguard) }
}

#[test]
fn without_the_outbox_an_order_never_settles() {
    harm(order_without(Safeguard::Outbox), "settled when at rest");
}

#[test]
fn without_waiting_for_the_confirm_an_order_never_settles() {
    harm(order_without(Safeguard::Confirm), "settled when at rest");
}

#[test]
fn acknowledging_before_the_commit_leaves_an_order_unsettled() {
    harm(order_without(Safeguard::AckAfterCommit), "settled when at rest");
}

#[test]
fn without_the_inbox_an_effect_that_is_not_idempotent_happens_twice() {
    harm(order_without(Safeguard::Inbox), "counted at most once");
}

#[test]
fn without_the_providers_idempotency_key_a_customer_is_charged_twice() {
    harm(order_without(Safeguard::IdempotencyKey), "charged at most once");
}

#[test]
fn without_the_providers_idempotency_key_a_customer_is_refunded_twice() {
    harm(order_without(Safeguard::IdempotencyKey), "refunded at most once");
}

#[test]
fn without_the_booking_an_order_is_shipped_and_refunded() {
    harm(order_without(Safeguard::Booking), "never both shipped and refunded");
}

#[test]
fn without_the_tombstone_a_cancelled_order_keeps_its_stock() {
    harm(order_without(Safeguard::ReservationTombstone), "settled when at rest");
}

#[test]
fn without_the_void_a_cancelled_order_stays_charged() {
    harm(order_without(Safeguard::Void), "settled when at rest");
}

#[test]
fn trusting_messages_ships_an_unpaid_order() {
    harm(order_without(Safeguard::EventLogMatch), "shipped only when paid");
}

#[test]
fn without_the_lock_the_last_piece_is_sold_twice() {
    StockModel { without: None }.checker().spawn_bfs().join().assert_properties();
    harm(StockModel { without: Some(Safeguard::StockLock) }, "nothing is oversold");
}
