//! The services, one folder each, and the only list of them.

use orderflow_service::Service;

/// Declares the modules and the list, so that a new service is one line here.
macro_rules! services {
    ($($name:ident),+ $(,)?) => {
        $(pub mod $name;)+

        /// Returns every service, in display order.
        #[must_use]
        pub fn all() -> Vec<Service> {
            vec![$($name::service()),+]
        }
    };
}

services! {
    payment,
    inventory,
    shipping,
    email,
    order,
}
