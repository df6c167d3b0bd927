//! The order itself: its rules, how it is placed, and how it follows its event log. It knows neither HTTP nor services.

pub mod domain;
pub mod payment_kind;
pub mod placing;
pub mod store;
pub mod token;
