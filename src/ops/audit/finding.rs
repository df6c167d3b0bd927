//! What is found, and of what.

use std::fmt;

use orderflow_service::audit::Rule;
use serde::Serialize;
use uuid::Uuid;

use super::delivery::Parked;

/// Of what something is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Named {
    /// An order; it has no number where it does not exist.
    Order {
        /// Its id.
        #[serde(rename = "order_id")]
        id: Uuid,
        /// Its number.
        number: Option<String>,
    },
    /// A product.
    Product {
        /// Its name in the catalogue.
        sku: String,
    },
}

impl Named {
    /// By what a command takes it.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::Order { id, number } => number.clone().unwrap_or_else(|| id.to_string()),
            Self::Product { sku } => sku.clone(),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order { id, number: Some(number) } => write!(f, "order {number} ({id})"),
            Self::Order { id, number: None } => write!(f, "order {id}"),
            Self::Product { sku } => write!(f, "product {sku}"),
        }
    }
}

/// Something to be told.
#[derive(Debug, Clone)]
pub enum Finding {
    /// A rule is broken.
    Violation {
        /// Which.
        rule: Rule,
        /// By what.
        of: Named,
        /// How.
        what: String,
    },
    /// An order waits behind a dead letter.
    Parked {
        /// Which order.
        order: Named,
        /// Behind which.
        parked: Parked,
    },
}
