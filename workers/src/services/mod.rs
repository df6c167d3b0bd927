//! The services: a folder each, with one file per event handled and the service's own store.

pub mod email;
pub mod inventory;
pub mod order;
pub mod payment;
pub mod shipping;
