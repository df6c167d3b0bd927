//! The dependencies of the order service's handlers: the notifier of changed orders.

use orderflow_order::store::order_changes::ChangeNotifier;
use orderflow_service::{
    config::{Setting, Source},
    service::{Dependencies, SetupError},
    store::Database,
};

/// The dependencies of the order service's handlers.
pub struct OrderDependencies {
    /// Announces changed orders to front ends.
    pub notifier: ChangeNotifier,
}

impl Dependencies for OrderDependencies {
    type Settings = ();

    const SETTINGS: &'static [&'static Setting] = &[];

    fn read(_: &Source) -> Option<()> {
        Some(())
    }

    fn connect((): (), database: &Database) -> Result<Self, SetupError> {
        Ok(Self { notifier: ChangeNotifier::start(database.clone()) })
    }
}
