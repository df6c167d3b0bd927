//! The queues that tests name.

use orderflow_events::EventKind;
use orderflow_service::Subscription;

/// `payment.payment-rder-reated`
pub const PAYMENT_ORDER_CREATED: Subscription = Subscription::new("payment", EventKind::OrderCreated);
/// `inventory.inventory-ayment-ompleted`
pub const INVENTORY_PAYMENT_COMPLETED: Subscription = Subscription::new("inventory", EventKind::PaymentCompleted);
/// `email.email-rder-reated`
pub const EMAIL_ORDER_CREATED: Subscription = Subscription::new("email", EventKind::OrderCreated);
/// `email.email-hipment-reated`
pub const EMAIL_SHIPMENT_CREATED: Subscription = Subscription::new("email", EventKind::ShipmentCreated);
/// `email.email-rder-ancelled`
pub const EMAIL_ORDER_CANCELLED: Subscription = Subscription::new("email", EventKind::OrderCancelled);
