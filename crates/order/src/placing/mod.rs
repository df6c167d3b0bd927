//! Turns the body of a request into a stored order: parses, validates, prices, and stores orders in batches.

mod admission;
mod card;
pub mod catalogue;
pub mod fields;
pub mod fingerprint;
pub mod json;
pub mod order_request;
mod order_writer;
mod pending_order;
mod place;
pub mod validate;

pub use self::{
    admission::NotAdmitted,
    pending_order::{NotPlaced, Placed},
    place::{PlacementRequest, Placing, Refused},
};
