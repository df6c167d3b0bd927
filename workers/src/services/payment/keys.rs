//! What follows from an order's id: the keys of its charge and its refund, and the id of its payment.

use orderflow_service::fault::{self, Safeguard};
use uuid::Uuid;

/// The provider's idempotency key for an order's charge. An order has one charge, so the key follows from the order:
/// whatever asks for it, however often, asks for the same one; and whoever is to give it back can name it.
pub fn charge_key(order: Uuid) -> String {
    if fault::without(Safeguard::IdempotencyKey) {
        return format!("charge-{}", Uuid::now_v7());
    }
    format!("charge-{order}")
}

/// The provider's idempotency key for the refund of an order's charge.
pub fn refund_key(order: Uuid) -> String {
    format!("refund-{order}")
}

/// Our own id of an order's payment.
pub fn payment_id(order: Uuid) -> String {
    format!("pay_{}", order.simple())
}

/// What is written down as charge and as refund of an order that costs nothing: nobody was asked for either.
pub const NOTHING: &str = "nothing";
