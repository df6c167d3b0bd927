//! From the body of a request to a stored order: read, judged, priced, and stored many at a time.

mod admission;
mod card;
pub mod catalogue;
pub mod fields;
pub mod fingerprint;
mod intake;
pub mod json;
pub mod order_request;
mod place;
mod placement;
pub mod validate;

pub use self::{
    admission::NotAdmitted,
    place::{Placing, Refused, Wish},
    placement::{NotPlaced, Placed},
};
