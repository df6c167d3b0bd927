//! Who is told which orders have moved.

use orderflow_order::store::order_changes::ChangeNotifier;
use orderflow_service::{
    config::{Setting, Source},
    service::{Dependencies, SetupError},
    store::Database,
};

/// What the order service's handlers are made from.
pub struct OrderDependencies {
    /// Says which orders have moved.
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
