//! `GET /`: the catalogue and the order form.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::Data,
};
use askama::Template;
use orderflow_order::{
    domain::{self, OrderStatus},
    placing::{catalogue::Catalogue, fields::FieldError},
    store::orders,
};
use orderflow_service::store::{ANSWER_WITHIN, Connection, StoreError};
use uuid::Uuid;

use super::{
    answer::html,
    cart::Cart,
    entered::Entered,
    shelves::Shelves,
    words::{self, Mistake, Notice},
};
use crate::web::{
    app::App,
    auth,
    problem::{Code, Problem},
};

/// The shop's page. Its form contains an idempotency key, so it is one order however often it is sent.
#[derive(Template)]
#[template(path = "shop.html")]
pub struct ShopPage {
    shelves: Shelves,
    cart: Cart,
    entered: Entered,
    notice: Option<Notice>,
    mistakes: Vec<Mistake>,
    /// When to try again, as a sentence.
    again: Option<String>,
}

/// A country in the form.
struct Country {
    code: &'static str,
    name: &'static str,
}

/// The countries by name, without the article that ISO puts after it.
static COUNTRIES: LazyLock<Vec<Country>> = LazyLock::new(|| {
    let country =
        |one: &rust_iso3166::CountryCode| Country { code: one.alpha2, name: one.name.trim_end_matches(" (the)") };
    let mut countries: Vec<_> = rust_iso3166::ALL.iter().map(country).collect();
    countries.sort_unstable_by_key(|country| country.name);
    countries
});

/// A card to pay with: the provider's id, the name on the page, and the effect.
struct Card {
    method: &'static str,
    name: &'static str,
    does: &'static str,
}

/// The test cards of the contract.
const CARDS: [Card; 3] = [
    Card { method: "pm_card_visa", name: "Visa that works", does: "The payment succeeds." },
    Card {
        method: "pm_card_visa_chargeDeclined",
        name: "Visa that is declined",
        does: "Nothing is charged; you can try another card.",
    },
    Card {
        method: "pm_card_flaky",
        name: "Card with a flaky connection",
        does: "Fails twice with a temporary error, then succeeds. Takes a little longer.",
    },
];

/// Returns the shop's page. `?replaces=ORDER` fills the cart with the items of this customer's order whose card was
/// declined.
pub async fn handle(request: HttpRequest, app: Data<App>) -> HttpResponse {
    // The shop opens even if that order cannot be read.
    let entered = declined(&request, &app).await.unwrap_or_default();
    page(StatusCode::OK, app.placing.catalogue().as_deref(), entered, None)
}

/// Returns the items of the declined order. Empty if no order is named, or if it cannot be replaced.
async fn declined(request: &HttpRequest, app: &App) -> Result<Entered, Problem> {
    let mut query = url::form_urlencoded::parse(request.query_string().as_bytes());
    let named = query.find(|(name, _)| name == "replaces").and_then(|(_, id)| domain::canonical_id(&id));
    let Some(id) = named.filter(|id| auth::opens(request, &app.links, *id)) else { return Ok(Entered::default()) };
    let reading = async |connection: &mut Connection| {
        Ok::<_, StoreError>((orders::find(connection, id).await?, orders::lines(connection, id).await?))
    };
    let (order, lines) = app.database.run(ANSWER_WITHIN, reading).await?;
    if order.is_none_or(|order| order.status != OrderStatus::PaymentFailed.as_str()) {
        return Ok(Entered::default());
    }
    let quantities = lines.into_iter().map(|line| (line.sku, line.quantity.to_string())).collect();
    Ok(Entered { replaces: id.to_string(), quantities, ..Entered::default() })
}

/// Returns the shop's page with the customer's entries and the errors in them.
pub fn page(
    status: StatusCode,
    catalogue: Option<&Catalogue>,
    mut entered: Entered,
    problem: Option<&Problem>,
) -> HttpResponse {
    if entered.key.is_empty() {
        // Random, not a UUIDv7, so that no one can guess the key of another customer's form.
        entered.key = Uuid::from_u128(rand::random()).to_string();
    }
    let mut mistakes = mistakes(problem, &mut entered);
    let (mut shelves, cart) = catalogue
        .map_or_else(Default::default, |catalogue| (Shelves::new(catalogue, &entered), Cart::new(catalogue, &entered)));
    let notice = match problem {
        Some(problem) if problem.code() == Code::TotalChanged => {
            Some(words::total_changed(entered.shown_total(), &cart))
        }
        Some(problem) => (problem.code() != Code::InvalidOrder).then(|| words::notice(problem)),
        None => catalogue.is_none().then_some(words::CLOSED),
    };
    for shelf in shelves.all_mut() {
        let field = format!("{}{}", super::entered::QUANTITY, shelf.sku);
        if let Some(mistake) = mistakes.iter_mut().find(|mistake| mistake.field == field) {
            shelf.error = Some(mistake.text.clone());
            // The summary must name the product; next to the field it is obvious.
            mistake.text = format!("{}: {}", shelf.name, mistake.text);
        }
    }
    let retry_after = problem.and_then(Problem::retry_seconds);
    let again = retry_after.map(|seconds| {
        if seconds == 1 { "Try again in a second.".to_owned() } else { format!("Try again in {seconds} seconds.") }
    });
    let mut answer = html(status, &ShopPage { shelves, cart, entered, notice, mistakes, again });
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// Returns the errors of each field, in words. Removes entries that must not be shown again, and products that are no
/// longer sold.
fn mistakes(problem: Option<&Problem>, entered: &mut Entered) -> Vec<Mistake> {
    let errors =
        problem.filter(|problem| problem.code() == Code::InvalidOrder).map(Problem::errors).unwrap_or_default();
    let chosen = entered.quantities.len();
    let mistake = |error: &FieldError| words::mistake(entered.field(&error.pointer), error, chosen);
    let mistakes: Vec<_> = errors.iter().map(mistake).collect();
    for (mistake, error) in mistakes.iter().zip(errors) {
        match error.code {
            "card_number_refused" => {
                if let Some(field) = entered.text(&mistake.field) {
                    field.clear();
                } else {
                    take_out(entered, &mistake.field);
                }
            }
            "unknown_sku" => take_out(entered, &mistake.field),
            "not_replaceable" => entered.replaces.clear(),
            _ => {}
        }
    }
    mistakes
}

/// Removes the product whose quantity this field holds.
fn take_out(entered: &mut Entered, field: &str) {
    entered.quantities.retain(|(sku, _)| format!("{}{sku}", super::entered::QUANTITY) != field);
}

impl ShopPage {
    /// Returns the error of this field.
    fn error(&self, field: &str) -> Option<&str> {
        self.mistakes.iter().find(|mistake| mistake.field == field).map(|mistake| mistake.text.as_str())
    }

    fn is_optional(&self, field: &str) -> bool {
        matches!(field, "line2" | "postal_code" | "state" | "phone")
    }

    fn is_email(&self, field: &str) -> bool {
        field == "email"
    }

    fn is_country(&self, country: &Country) -> bool {
        country.code == self.entered.country
    }

    /// Returns whether this card is selected. By default the first one is.
    fn is_card(&self, card: &Card) -> bool {
        let chosen = CARDS.iter().find(|card| card.method == self.entered.method).or(CARDS.first());
        chosen.is_some_and(|chosen| chosen.method == card.method)
    }

    fn cards(&self) -> &'static [Card] {
        &CARDS
    }

    fn countries(&self) -> &'static [Country] {
        &COUNTRIES
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    async fn text(problem: Option<&Problem>) -> String {
        let page = page(StatusCode::OK, None, Entered::default(), problem);
        String::from_utf8(to_bytes(page.into_body()).await.expect("the body is complete").to_vec()).expect("text")
    }

    #[actix_web::test]
    async fn a_visitor_during_a_database_outage_reads_that_nothing_was_ordered() {
        let looked = text(None).await;
        assert!(looked.contains("Nothing was ordered.") && !looked.contains("We cannot tell yet"), "{looked}");
        let ordered = text(Some(&Problem::database_unavailable())).await;
        assert!(ordered.contains("We cannot tell yet") && !ordered.contains("Nothing was ordered."), "{ordered}");
    }
}
