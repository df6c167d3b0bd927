//! The queues that tests refer to.

use orderflow_events::EventKind;
use orderflow_service::Subscription;

/// `payment.order-created`
pub const PAYMENT_ORDER_CREATED: Subscription = Subscription::new("payment", EventKind::OrderCreated);
/// `payment.inventory-released`
pub const PAYMENT_INVENTORY_RELEASED: Subscription = Subscription::new("payment", EventKind::InventoryReleased);
/// `inventory.payment-completed`
pub const INVENTORY_PAYMENT_COMPLETED: Subscription = Subscription::new("inventory", EventKind::PaymentCompleted);
/// `email.order-created`
pub const EMAIL_ORDER_CREATED: Subscription = Subscription::new("email", EventKind::OrderCreated);
/// `email.shipment-created`
pub const EMAIL_SHIPMENT_CREATED: Subscription = Subscription::new("email", EventKind::ShipmentCreated);
/// `email.order-cancelled`
pub const EMAIL_ORDER_CANCELLED: Subscription = Subscription::new("email", EventKind::OrderCancelled);
