//! Values derived from an order's id: the keys of its charge and its refund, and the id of its payment.

use orderflow_service::fault::{self, Safeguard};
use uuid::Uuid;

/// Returns the provider's idempotency key for an order's charge. An order has one charge, so the key is derived from
/// the order's id: every request for the charge has the same key, and a void can name it.
pub fn charge_key(order: Uuid) -> String {
    if fault::without(Safeguard::IdempotencyKey) {
        return format!("charge-{}", Uuid::now_v7());
    }
    format!("charge-{order}")
}

/// Returns the provider's idempotency key for the refund of an order's charge.
pub fn refund_key(order: Uuid) -> String {
    format!("refund-{order}")
}

/// Returns our own id of an order's payment.
pub fn payment_id(order: Uuid) -> String {
    format!("pay_{}", order.simple())
}

/// The stored id of the charge and the refund of an order that costs nothing. The provider is not called for either.
pub const NOTHING: &str = "nothing";
