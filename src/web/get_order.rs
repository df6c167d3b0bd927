//! `GET /orders/{id}`

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{self, EntityTag, Header as _, IfNoneMatch},
    web::Data,
};
use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use orderflow_order::store::orders::{self, Line, Order};
use orderflow_service::store::{ANSWER_WITHIN, Connection};
use serde::Serialize;
use uuid::Uuid;

use super::{app::App, auth, problem::Problem};

/// Only the customer's browser may store the answer, and must revalidate it each time.
pub const CACHE_CONTROL: &str = "private, no-cache";

#[derive(Serialize)]
struct Answer<'a> {
    order_id: Uuid,
    number: &'a str,
    status: &'a str,
    version: i32,
    cancel_requested: bool,
    total: i64,
    currency: &'a str,
    items: Vec<Item<'a>>,
    #[serde(with = "timestamp")]
    created_at: DateTime<Utc>,
    #[serde(with = "timestamp")]
    updated_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Item<'a> {
    sku: &'a str,
    name: &'a str,
    quantity: i32,
    price: i64,
}

/// Returns the customer's view of the order, or 304 if the client already has it.
///
/// # Errors
/// 404 without the order's token, 503 while the database is unavailable.
pub async fn handle(request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let id = auth::order(&request, &app.links)?;
    let reading = async |connection: &mut Connection| {
        let order = orders::find(connection, id).await?.ok_or_else(Problem::order_not_found)?;
        // If the client already has this version, its lines are not read.
        let lines = if is_known(&request, &tag(&order)) { None } else { Some(orders::lines(connection, id).await?) };
        Ok::<_, Problem>((order, lines))
    };
    let (order, lines) = app.database.run(ANSWER_WITHIN, reading).await?;
    Ok(match lines {
        Some(lines) => in_full(HttpResponse::Ok(), &order, &lines),
        None => with_headers(HttpResponse::NotModified(), &order).finish(),
    })
}

/// Returns an answer with the whole order as its body.
pub fn in_full(answer: HttpResponseBuilder, order: &Order, lines: &[Line]) -> HttpResponse {
    with_headers(answer, order).json(body(order, lines))
}

fn with_headers(mut answer: HttpResponseBuilder, order: &Order) -> HttpResponseBuilder {
    answer.insert_header((header::ETAG, tag(order).to_string())).insert_header((header::CACHE_CONTROL, CACHE_CONTROL));
    answer
}

fn tag(order: &Order) -> EntityTag {
    EntityTag::new_strong(order.version.to_string())
}

/// Returns whether the client already has this version.
pub fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

fn body<'a>(order: &'a Order, lines: &'a [Line]) -> Answer<'a> {
    let item = |line: &'a Line| Item { sku: &line.sku, name: &line.name, quantity: line.quantity, price: line.price };
    Answer {
        order_id: order.id,
        number: &order.number,
        status: &order.status,
        version: order.version,
        cancel_requested: order.cancel_requested,
        total: order.total,
        currency: &order.currency,
        items: lines.iter().map(item).collect(),
        created_at: order.created_at,
        updated_at: order.updated_at,
    }
}
