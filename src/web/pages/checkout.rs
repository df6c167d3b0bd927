//! `POST /checkout`: the shop's form. It is judged and placed by what judges and places `POST /orders`.

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

/// Places the order and leads to its page; or shows the shop again, with what was entered and what is wrong with it.
///
/// # Errors
/// 403 for a form of another site; and what no page of ours sends: a body that is no form, too large, or never ends.
pub async fn handle(request: HttpRequest, app: Data<App>, payload: Payload) -> Result<HttpResponse, Problem> {
    // Another site's page may send a form here too. It would fill the customer's browser with orders of strangers.
    if !auth::is_own_form(&request, &app.links) {
        return Err(Problem::new(Code::ForeignOrigin, "Order on the shop's own page."));
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
                // With another key it is another order, which the customer is asked about.
                entered.key.clear();
            }
            let catalogue = app.placing.catalogue();
            return Ok(shop::page(problem.code().status(), catalogue.as_deref(), entered, Some(&problem)));
        }
    };
    let token = app.links.token(placed.order_id, placed.created_at);
    Ok(track::opened(&request, &app, placed.order_id, &token))
}
