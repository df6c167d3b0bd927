//! `POST /orders`

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Payload},
};
use orderflow_order::{
    domain::OrderStatus,
    placing::{NotPlaced, Placed, PlacementRequest, Refused},
    token::OrderLinks,
};
use orderflow_service::metrics;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    app::App,
    auth, body,
    problem::{Code, Problem},
    rate_limit::{Allowance, too_many},
    request_id,
};

/// Accepts an order, or reports everything that is invalid in it.
///
/// # Errors
/// A 4xx stores nothing and leaves the key unused. After a 5xx the order may exist; a request with the same key finds
/// out.
pub async fn handle(request: HttpRequest, app: Data<App>, payload: Payload) -> Result<HttpResponse, Problem> {
    let placing = async {
        let allowance = admit(&request, &app)?;
        let key = idempotency_key(&request)?;
        let body = body::json(&request, payload).await?;
        place(&request, &app, allowance, &key, &body, None).await
    };
    let placed = counted(&request, placing.await)?;
    Ok(accepted(&app.links, &placed))
}

/// Accepts an order from the shop's form. Its fields include the key and the total that its page showed. The total is
/// not part of the order: a customer who submits again after an error gets the first answer, whatever the page shows by
/// then.
///
/// # Errors
/// See [`handle`].
pub async fn handle_form(
    request: &HttpRequest,
    app: &App,
    key: &str,
    body: &Value,
    shown: i64,
) -> Result<Placed, Problem> {
    let placing = async {
        let allowance = admit(request, app)?;
        let key = Some(key).filter(|key| is_key(key)).ok_or_else(no_key)?;
        place(request, app, allowance, key, body, Some(shown)).await
    };
    counted(request, placing.await)
}

fn counted(request: &HttpRequest, outcome: Result<Placed, Problem>) -> Result<Placed, Problem> {
    match &outcome {
        Ok(placed) => {
            metrics::get().orders.accepted(placed.replayed);
            request_id::placed(request, placed.order_id);
        }
        Err(problem) => metrics::get().orders.rejected(problem.code().as_str()),
    }
    outcome
}

fn admit(request: &HttpRequest, app: &App) -> Result<Allowance, Problem> {
    app.rate_limit.as_ref().map_or(Ok(Allowance::Order(None)), |limit| limit.admit(request))
}

/// Places the order, or looks up its stored answer if the client is over its rate. A repetition does not count against
/// the rate.
async fn place(
    request: &HttpRequest,
    app: &App,
    allowance: Allowance,
    key: &str,
    body: &Value,
    shown: Option<i64>,
) -> Result<Placed, Problem> {
    let placement = PlacementRequest {
        key,
        body,
        shown,
        retry_seconds: match allowance {
            Allowance::Order(_) => None,
            Allowance::Repetition { retry_after } => Some(retry_after),
        },
        owns: &|order| auth::opens(request, &app.links, order),
        correlation_id: request_id::of(request),
        traceparent: request_id::traceparent(request),
    };
    let placed = app.placing.place(placement).await?;
    if let Some(limit) = app.rate_limit.as_ref().filter(|_| placed.replayed) {
        limit.give_back(allowance);
    }
    Ok(placed)
}

fn idempotency_key(request: &HttpRequest) -> Result<String, Problem> {
    let mut given = request.headers().get_all("idempotency-key");
    let key = match (given.next(), given.next()) {
        (Some(key), None) => key.to_str().ok().filter(|key| is_key(key)),
        _ => None,
    };
    key.map(str::to_owned).ok_or_else(no_key)
}

fn no_key() -> Problem {
    let detail = "Send one Idempotency-Key of 16 to 255 printable ASCII characters, such as a UUID: a new key for each order, the same key when you repeat a request.";
    Problem::new(Code::IdempotencyKeyInvalid, detail)
}

/// Returns whether the text is 16 to 255 printable ASCII characters. A header may also contain tabs, which are not
/// printable.
fn is_key(text: &str) -> bool {
    (16..=255).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

impl From<Refused> for Problem {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Invalid(errors) => Self::invalid_order(errors),
            Refused::TotalChanged { total, currency } => Self::total_changed(total, &currency),
            Refused::TooFast { retry_seconds } => too_many(retry_seconds),
            Refused::NotAdmitted(why) => why.into(),
            Refused::QueueFull => {
                Self::new(Code::Overloaded, "Too many orders are arriving. Nothing was stored. Try again soon.")
                    .retry_after(1)
            }
            Refused::NotPlaced(why) => not_placed(why),
            Refused::Store(error) => error.into(),
        }
    }
}

fn not_placed(why: NotPlaced) -> Problem {
    match why {
        NotPlaced::KeyReused => Problem::new(
            Code::IdempotencyKeyReused,
            "Repeat a request exactly, or send a new Idempotency-Key for a new order.",
        ),
        NotPlaced::InProgress => {
            Problem::new(Code::RequestInProgress, "Repeat the request with the same Idempotency-Key to get its answer.")
                .retry_after(1)
        }
        NotPlaced::Unavailable => Problem::new(
            Code::DatabaseUnavailable,
            "The order may or may not be stored. Repeat the request with the same Idempotency-Key.",
        )
        .retry_after(2),
        NotPlaced::Failed => {
            Problem::new(Code::Internal, "The order was not stored. The cause is logged under this request_id.")
        }
    }
}

#[derive(Serialize)]
struct Accepted<'a> {
    order_id: Uuid,
    number: &'a str,
    status: OrderStatus,
    total: i64,
    currency: &'a str,
    token: String,
    links: Links,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    order: String,
    timeline: String,
    live: String,
    page: String,
}

/// Returns the answer, built only from fields that never change, so that a repetition gets the same one.
fn accepted(links: &OrderLinks, placed: &Placed) -> HttpResponse {
    let path = format!("/orders/{}", placed.order_id);
    let mut response = HttpResponse::Accepted();
    response.insert_header((header::LOCATION, path.clone()));
    // The answer carries the order's token.
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if placed.replayed {
        response.insert_header(("idempotent-replayed", "true"));
    }
    response.json(Accepted {
        order_id: placed.order_id,
        number: &placed.number,
        status: OrderStatus::Pending,
        total: placed.total,
        currency: &placed.currency,
        token: links.token(placed.order_id, placed.created_at),
        links: Links {
            order: links.absolute(&path),
            timeline: links.absolute(&format!("{path}/timeline")),
            live: web_socket(links.absolute(&format!("{path}/live"))),
            page: links.page(placed.order_id, placed.created_at),
        },
    })
}

/// Replaces http by ws, and https by wss.
fn web_socket(url: String) -> String {
    match url.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_key_is_one_header_of_16_to_255_printable_characters() {
        let given = |keys: &[&str]| {
            let request = keys
                .iter()
                .fold(TestRequest::default(), |request, key| request.append_header(("idempotency-key", *key)));
            idempotency_key(&request.to_http_request()).ok()
        };
        assert_eq!(given(&["0123456789abcdef"]).as_deref(), Some("0123456789abcdef"));
        assert!(given(&[&"k".repeat(255)]).is_some());
        for wrong in [
            &[][..],
            &["0123456789abcde"],
            &[&"k".repeat(256)],
            &["0123456789abcdeé"],
            &["0123456789\tabcdef"],
            &["0123456789abcdef"; 2],
        ] {
            assert_eq!(given(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_live_link_has_the_scheme_that_fits_the_public_address() {
        assert_eq!(web_socket("http://a/b".to_owned()), "ws://a/b");
        assert_eq!(web_socket("https://a/b".to_owned()), "wss://a/b");
    }
}
