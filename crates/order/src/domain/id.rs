//! Order ids as they appear in URLs.

use uuid::Uuid;

/// Returns the id if `text` is its canonical spelling. Other spellings that would parse are refused, since an order has
/// exactly one URL.
#[must_use]
pub fn canonical_id(text: &str) -> Option<Uuid> {
    text.parse::<Uuid>().ok().filter(|id| id.to_string() == text)
}
