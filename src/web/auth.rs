//! Who may see an order: whoever has its token.

use actix_web::{HttpRequest, http::header::AUTHORIZATION};
use chrono::Utc;
use uuid::Uuid;

use super::problem::Problem;
use crate::token::OrderLinks;

/// The order that the path names, if the request carries the token that opens it.
///
/// # Errors
/// Always the same 404, whatever is wrong: nobody learns whether an order exists.
pub fn order(request: &HttpRequest, links: &OrderLinks) -> Result<Uuid, Problem> {
    opened(request, links).ok_or_else(Problem::order_not_found)
}

fn opened(request: &HttpRequest, links: &OrderLinks) -> Option<Uuid> {
    let text = request.match_info().get("id")?;
    // One order has one address: other spellings of a UUID that parse all the same are not it.
    let id = text.parse::<Uuid>().ok().filter(|id| id.to_string() == text)?;
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && links.opens(token.trim(), id, Utc::now())).then_some(id)
}
