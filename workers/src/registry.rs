//! Which handler takes which subscription. The match is exhaustive: a subscription without a handler does not compile.

use std::{fmt, num::NonZeroU32, sync::Arc};

use actix_rt::ArbiterHandle;
use futures::{FutureExt as _, future::BoxFuture};
use globset::{Glob, GlobSetBuilder};
use orderflow_events::{
    InventoryRejected, InventoryReleased, InventoryReserved, OrderCancelled, OrderCreated, PaymentCompleted,
    PaymentFailed, PaymentRefunded, PaymentVoided, ShipmentCancelled, ShipmentCreated, ShipmentFailed,
};
use orderflow_order::{store::moved::Announcer, token::OrderLinks};
use orderflow_service::Subscription;

use crate::{
    handler::Handler,
    providers::Providers,
    services::{
        email::{Letter, SendMail},
        inventory::{ReleaseStock, ReserveStock},
        order::{CompleteCancel, FoldLog, MovesStatus, Reversed},
        payment::{ChargeOrder, EndsUnshipped, ReversePayment},
        shipping::{JudgeCancel, ShipOrder},
    },
    shell::{Process, keep_consuming},
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

/// Starts consuming a queue, and runs until the process stops.
pub type Start = Box<dyn FnOnce(Process, &Services, ArbiterHandle) -> BoxFuture<'static, ()> + Send>;

/// A subscription and what starts its handler.
pub type Entry = (Subscription, Start);

/// The queues that a worker process consumes.
pub struct Registry {
    /// Each with what starts it.
    pub entries: Vec<Entry>,
}

impl Registry {
    /// The queues with these names, or matching these globs; all of them where there is none.
    ///
    /// # Errors
    /// When a pattern is malformed or matches nothing, since that is a typing error.
    pub fn select(patterns: &[String]) -> Result<Self, SelectError> {
        Ok(Self { entries: select(patterns)?.into_iter().map(entry).collect() })
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
    let start: Start =
        Box::new(move |process, services, arbiter| keep_consuming(process, Arc::new(make(services)), arbiter).boxed());
    (H::SUBSCRIPTION, start)
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|(subscription, _)| subscription)).finish()
    }
}

/// `--queue` that means nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Not a glob.
    #[error("--queue {0:?} is neither a queue's name nor a pattern such as 'payment.*'")]
    Malformed(String),
    /// A glob that no queue matches.
    #[error("--queue {pattern:?} matches no queue; there are: {}", known.join(", "))]
    NoMatch {
        /// What was asked for.
        pattern: String,
        /// What there is.
        known: Vec<String>,
    },
}

fn select(patterns: &[String]) -> Result<Vec<Subscription>, SelectError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = Glob::new(pattern).map_err(|_| SelectError::Malformed(pattern.clone()))?;
        let matcher = glob.compile_matcher();
        if !Subscription::ALL.iter().any(|subscription| matcher.is_match(subscription.queue())) {
            let known = Subscription::ALL.iter().map(|subscription| subscription.queue()).collect();
            return Err(SelectError::NoMatch { pattern: pattern.clone(), known });
        }
        set.add(glob);
    }
    let set = set.build().map_err(|error| SelectError::Malformed(error.to_string()))?;
    let chosen = |subscription: &Subscription| patterns.is_empty() || set.is_match(subscription.queue());
    Ok(Subscription::ALL.iter().copied().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(patterns: &[&str]) -> Result<Vec<String>, SelectError> {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        Ok(select(&patterns)?.into_iter().map(Subscription::queue).collect())
    }

    #[test]
    fn every_subscription_has_its_own_handler() {
        for subscription in Subscription::ALL {
            let (handled, _) = entry(*subscription);
            assert_eq!(handled, *subscription, "the registry gives {subscription} the handler of {handled}");
        }
    }

    #[test]
    fn names_and_globs_choose_queues_and_none_chooses_all() {
        let of_payment = ["payment.order-created", "payment.inventory-released", "payment.inventory-rejected"];
        assert_eq!(selected(&["payment.*"]), Ok(of_payment.map(str::to_owned).to_vec()));
        let two = selected(&["payment.order-created", "email.p*"]);
        assert_eq!(two, Ok(vec!["payment.order-created".to_owned(), "email.payment-failed".to_owned()]));
        assert_eq!(selected(&[]).map(|all| all.len()), Ok(Subscription::ALL.len()));
    }

    #[test]
    fn a_pattern_that_chooses_nothing_is_a_mistake() {
        assert!(matches!(selected(&["payments.*"]), Err(SelectError::NoMatch { .. })));
        assert!(matches!(selected(&["payment.["]), Err(SelectError::Malformed(_))));
    }
}
