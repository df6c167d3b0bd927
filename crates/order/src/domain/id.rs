//! Ids of orders, as addresses have them.

use uuid::Uuid;

/// Returns the id if `text` is its canonical spelling. One order has one address: other spellings of a UUID that parse
/// all the same are refused.
#[must_use]
pub fn canonical_id(text: &str) -> Option<Uuid> {
    text.parse::<Uuid>().ok().filter(|id| id.to_string() == text)
}
