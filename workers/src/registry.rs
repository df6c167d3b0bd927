//! Which handler takes which subscription. The match is exhaustive: a subscription without a handler does not compile.

use std::{fmt, num::NonZeroU32, sync::Arc};

use orderflow_events::{
    InventoryRejected, InventoryReleased, InventoryReserved, OrderCancelled, OrderCreated, PaymentCompleted,
    PaymentFailed, PaymentRefunded, PaymentVoided, ShipmentCancelled, ShipmentCreated, ShipmentFailed,
};
use orderflow_order::{store::moved::Announcer, token::OrderLinks};
use orderflow_service::{
    Consumer, Subscription,
    handler::Handler,
    selection::{SelectError, select},
    store::Database,
};

use crate::{
    Settings,
    providers::{ProviderSetupError, Providers},
    services::{
        email::{Letter, SendMail},
        inventory::{ReleaseStock, ReserveStock},
        order::{CompleteCancel, FoldLog, MovesStatus, Reversed},
        payment::{ChargeOrder, EndsUnshipped, Intents, ReversePayment},
        shipping::{JudgeCancel, ShipOrder},
    },
};

/// What handlers are made from.
#[derive(Clone)]
pub struct Services {
    /// The outside world.
    pub providers: Providers,
    /// Links into the shop, for mails.
    pub links: OrderLinks,
    /// Mails about received orders that one address is sent within an hour.
    pub mail_limit: Option<NonZeroU32>,
    /// Says which orders have moved.
    pub announcer: Announcer,
}

impl Services {
    /// Sets them up; needs a tokio runtime. Nobody is spoken to yet.
    ///
    /// # Errors
    /// When a provider's setting cannot be used; the error names it.
    pub fn new(settings: &Settings, database: &Database) -> Result<Self, ProviderSetupError> {
        let intents = Arc::new(Intents::start(database.clone(), settings.payment.line.time_out));
        Ok(Self {
            providers: Providers::new(&settings.payment, &settings.carrier, &settings.mail, database, intents)?,
            links: OrderLinks::new(&settings.links),
            mail_limit: settings.mail.limit,
            announcer: Announcer::start(database.clone()),
        })
    }
}

/// Makes a queue's consumer from what handlers are made from.
pub type Make = Box<dyn FnOnce(&Services) -> Consumer + Send>;

/// A subscription and what makes its consumer.
pub type Entry = (Subscription, Make);

/// The queues that a worker process consumes.
pub struct Registry {
    /// Each with what makes its consumer.
    pub entries: Vec<Entry>,
}

impl Registry {
    /// The queues with these names, or matching these globs; all of them where there is none.
    ///
    /// # Errors
    /// When a pattern is malformed or matches nothing, since that is a typing error.
    pub fn select(patterns: &[String]) -> Result<Self, SelectError> {
        Ok(Self { entries: select(patterns, Subscription::ALL)?.into_iter().map(entry).collect() })
    }
}

/// The handler of each subscription.
fn entry(subscription: Subscription) -> Entry {
    match subscription {
        Subscription::PaymentOrderCreated => {
            handled_by(|services| ChargeOrder::new(services.providers.payment.clone()))
        }
        Subscription::InventoryPaymentCompleted => handled_by(|_| ReserveStock),
        Subscription::ShippingInventoryReserved => {
            handled_by(|services| ShipOrder::new(services.providers.carrier.clone()))
        }
        Subscription::EmailOrderCreated => handled_by(mail::<OrderCreated>),
        Subscription::EmailPaymentFailed => handled_by(mail::<PaymentFailed>),
        Subscription::EmailShipmentCreated => handled_by(mail::<ShipmentCreated>),
        Subscription::OrderPaymentCompleted => handled_by(fold::<PaymentCompleted>),
        Subscription::OrderPaymentFailed => handled_by(fold::<PaymentFailed>),
        Subscription::OrderInventoryReserved => handled_by(fold::<InventoryReserved>),
        Subscription::OrderInventoryRejected => handled_by(fold::<InventoryRejected>),
        Subscription::OrderShipmentCreated => handled_by(fold::<ShipmentCreated>),
        Subscription::OrderShipmentFailed => handled_by(fold::<ShipmentFailed>),
        Subscription::ShippingOrderCancelRequested => handled_by(|_| JudgeCancel),
        Subscription::InventoryShipmentCancelled => handled_by(|_| ReleaseStock::<ShipmentCancelled>::default()),
        Subscription::InventoryShipmentFailed => handled_by(|_| ReleaseStock::<ShipmentFailed>::default()),
        Subscription::PaymentInventoryReleased => handled_by(reverse::<InventoryReleased>),
        Subscription::PaymentInventoryRejected => handled_by(reverse::<InventoryRejected>),
        Subscription::OrderShipmentCancelled => handled_by(fold::<ShipmentCancelled>),
        Subscription::OrderInventoryReleased => handled_by(fold::<InventoryReleased>),
        Subscription::OrderPaymentRefunded => handled_by(complete::<PaymentRefunded>),
        Subscription::OrderPaymentVoided => handled_by(complete::<PaymentVoided>),
        Subscription::OrderOrderCancelled => handled_by(fold::<OrderCancelled>),
        Subscription::EmailOrderCancelled => handled_by(mail::<OrderCancelled>),
    }
}

fn fold<E: MovesStatus>(services: &Services) -> FoldLog<E> {
    FoldLog::new(services.announcer.clone())
}

fn complete<E: Reversed>(services: &Services) -> CompleteCancel<E> {
    CompleteCancel::new(services.announcer.clone())
}

fn mail<L: Letter>(services: &Services) -> SendMail<L> {
    SendMail::new(services.providers.mailer.clone(), services.links.clone(), services.mail_limit)
}

fn reverse<E: EndsUnshipped>(services: &Services) -> ReversePayment<E> {
    ReversePayment::new(services.providers.payment.clone())
}

/// This handler, made from what the process has, for its own subscription. The tests use it to put a handler of their own
/// into a registry.
pub fn handled_by<H: Handler>(make: impl FnOnce(&Services) -> H + Send + 'static) -> Entry {
    (H::SUBSCRIPTION, Box::new(move |services| Consumer::of(make(services))))
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|(subscription, _)| subscription)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subscription_has_its_own_handler() {
        for subscription in Subscription::ALL {
            let (handled, _) = entry(*subscription);
            assert_eq!(handled, *subscription, "the registry gives {subscription} the handler of {handled}");
        }
    }
}
