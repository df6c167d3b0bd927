//! Findings, and what they concern.

use std::fmt;

use orderflow_service::audit::Rule;
use serde::Serialize;
use uuid::Uuid;

use super::delivery::Parked;

/// The subject of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Named {
    /// An order; it has no number if it does not exist.
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
    /// Returns the name that commands accept.
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

/// A finding.
#[derive(Debug, Clone)]
pub enum Finding {
    /// A rule is broken.
    Violation {
        /// The rule.
        rule: Rule,
        /// The subject.
        of: Named,
        /// How the rule is broken.
        what: String,
    },
    /// A dead letter holds up an order.
    Parked {
        /// The order.
        order: Named,
        /// The dead letter.
        parked: Parked,
    },
}
