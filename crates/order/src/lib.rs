//! The order itself: its rules, how it is placed and cancelled, and how it follows its event log. It knows neither HTTP nor
//! services.

pub mod cancelling;
pub mod domain;
pub mod payment_kind;
pub mod placing;
pub mod store;
pub mod token;

/// The source of the events that customers cause: an order is placed, a cancel requested.
const SOURCE: &str = "/orderflow/web";
