//! From the body of a request to a stored order: read, judged, priced, and stored many at a time.

pub mod admission;
pub mod card;
pub mod catalogue;
pub mod fields;
pub mod fingerprint;
pub mod intake;
pub mod json;
pub mod order_request;
pub mod placement;
pub mod validate;
