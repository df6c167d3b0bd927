//! `POST /checkout`: the shop's form. It is validated and placed by the same code as `POST /orders`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};

use super::{entered::Entered, shop, track};
use crate::web::{
    app::App,
    auth, body, place_order,
    problem::{Code, Problem},
};

/// Places the order and redirects to its page, or shows the shop again with the entries and their errors.
///
/// # Errors
/// 403 for another site's form. 415, 413 or 408 for bodies that our pages never send: not a form, too large, or too
/// slow.
pub async fn handle(request: HttpRequest, app: Data<App>, payload: Payload) -> Result<HttpResponse, Problem> {
    // Another site's page could send a form here and fill the customer's browser with strangers' orders.
    if !auth::is_own_form(&request, &app.links) {
        return Err(Problem::new(Code::ForeignOrigin, "Place the order on the shop's own page."));
    }
    let mut entered = Entered::read(body::form(&request, payload).await?);
    if entered.only_update {
        return Ok(shop::page(StatusCode::OK, app.placing.catalogue().as_deref(), entered, None));
    }
    let (order, shown) = (entered.order(), entered.shown_total());
    let placed = match place_order::handle_form(&request, &app, &entered.key, &order, shown).await {
        Ok(placed) => placed,
        Err(problem) => {
            if matches!(problem.code(), Code::IdempotencyKeyReused | Code::IdempotencyKeyInvalid) {
                // A new key would make it a new order, so the page asks the customer first.
                entered.key.clear();
            }
            let catalogue = app.placing.catalogue();
            return Ok(shop::page(problem.code().status(), catalogue.as_deref(), entered, Some(&problem)));
        }
    };
    let token = app.links.token(placed.order_id, placed.created_at);
    Ok(track::opened(&request, &app, placed.order_id, &token))
}
