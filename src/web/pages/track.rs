//! `GET /track/{id}`: an order's page, for whoever has its link. It shows how things are now; the script in
//! `assets/track.js` asks for the moving part again whenever something has happened, and without it the page refreshes.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::Data,
};
use askama::Template;
use chrono::Utc;
use orderflow_order::{
    domain::{self, OrderStatus},
    store::orders::{self, Line, Order},
};
use orderflow_service::store::{ANSWER_WITHIN, Connection};
use uuid::Uuid;

use super::{
    answer::html,
    cart::money,
    estimate,
    steps::{self, Headline, Step},
};
use crate::{
    store::{
        order_blockers::{self, Blockers},
        progress::{self, Progress},
    },
    way,
    web::{
        app::App,
        auth, cancel_order, cookie,
        problem::{Code, Problem},
    },
};

/// The whole page.
#[derive(Template)]
#[template(path = "track.html")]
struct TrackPage {
    order: Shown,
    items: Vec<Item>,
    total: String,
    placed: String,
    /// Without scripts the page loads itself again, unless its reader asks it not to (WCAG 2.2.1 and 2.2.2).
    still: bool,
}

/// The part that moves.
#[derive(Template)]
#[template(path = "progress.html")]
struct ProgressPart {
    order: Shown,
}

/// What moves.
struct Shown {
    id: Uuid,
    number: String,
    version: i32,
    headline: Headline,
    steps: Vec<Step>,
    /// What is expected; nothing once the order has ended.
    estimate: Option<String>,
    can_cancel: bool,
    cancel_requested: bool,
    declined: bool,
    /// Nothing more comes that a customer waits for.
    is_settled: bool,
}

struct Item {
    name: String,
    picture: String,
    quantity: i32,
    price: String,
    amount: String,
}

/// There is no such order, or its link does not open it: nobody is told which.
#[derive(Template)]
#[template(path = "not_found.html")]
pub struct NotFoundPage;

/// The order cannot be shown now.
#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    /// In seconds.
    again_in: u64,
    /// The order of which we do not know whether a wish to cancel it was written down: its page says so.
    undecided: Option<Uuid>,
}

/// The order's page. With the token of a link it sets the order's cookie first, and leads to the address without it: what
/// is in the address stays in the browser's history, and is shown to whoever looks at the screen.
pub async fn handle(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let query = url::form_urlencoded::parse(request.query_string().as_bytes()).find(|(name, _)| name == "t");
    let shown = match query {
        Some((_, token)) => open(&request, &app, &token),
        None => show(&request, &app).await,
    };
    shown.unwrap_or_else(|problem| trouble(&problem, None))
}

/// The part of the page that moves, for its script.
pub async fn progress(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let part = async {
        let id = auth::order(&request, &app.links)?;
        let (order, progress, hold) = read(&app, id).await?;
        Ok::<_, Problem>(html(StatusCode::OK, &ProgressPart { order: Shown::new(&app, &order, &progress, hold).await }))
    };
    part.await.unwrap_or_else(|problem| trouble(&problem, None))
}

/// Asks for the order to be cancelled, and leads back to its page, which says what became of that.
pub async fn cancel(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let asking = async {
        let id = auth::order(&request, &app.links)?;
        match cancel_order::write_down(&app, id).await {
            // The page shows what came first.
            Err(problem) if problem.code() == Code::OrderNotCancellable => Ok(id),
            other => other.map(|()| id),
        }
    };
    match asking.await {
        Ok(id) => see(id),
        Err(problem) => trouble(&problem, request.match_info().get("id").and_then(domain::canonical_id)),
    }
}

fn see(id: Uuid) -> HttpResponse {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((header::LOCATION, format!("/track/{id}")));
    answer.insert_header((header::CACHE_CONTROL, "no-store")).finish()
}

/// An order that was placed or whose link was followed: its cookie is set, and its page is next.
pub fn opened(request: &HttpRequest, app: &App, id: Uuid, token: &str) -> HttpResponse {
    let mut answer = see(id);
    for cookie in cookie::open(request, &app.links, id, token) {
        if let Ok(value) = header::HeaderValue::from_str(&cookie) {
            answer.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    answer
}

fn open(request: &HttpRequest, app: &App, token: &str) -> Result<HttpResponse, Problem> {
    let named = request.match_info().get("id").and_then(domain::canonical_id);
    let id = named.filter(|id| app.links.opens(token, *id, Utc::now())).ok_or_else(Problem::order_not_found)?;
    Ok(opened(request, app, id, token))
}

async fn show(request: &HttpRequest, app: &App) -> Result<HttpResponse, Problem> {
    let id = auth::order(request, &app.links)?;
    let (order, progress, hold) = read(app, id).await?;
    let bought = async |connection: &mut Connection| orders::lines(connection, id).await;
    let lines = app.database.run(ANSWER_WITHIN, bought).await?;
    let item = |line: &Line| Item {
        name: line.name.clone(),
        picture: super::assets::picture(&line.sku),
        quantity: line.quantity,
        price: money(line.price, &order.currency),
        amount: money(line.price.saturating_mul(i64::from(line.quantity)), &order.currency),
    };
    let page = TrackPage {
        items: lines.iter().map(item).collect(),
        total: money(order.total, &order.currency),
        placed: order.created_at.format("%-d %B %Y, %H:%M UTC").to_string(),
        order: Shown::new(app, &order, &progress, hold).await,
        still: request.query_string() == "still",
    };
    Ok(html(StatusCode::OK, &page))
}

async fn read(app: &App, id: Uuid) -> Result<(Order, Progress, Blockers), Problem> {
    let reading = async |connection: &mut Connection| {
        let order = orders::find(connection, id).await?.ok_or_else(Problem::order_not_found)?;
        let progress = progress::beyond(connection, &[(id, 0)]).await?.pop().ok_or_else(Problem::order_not_found)?;
        let events: Vec<Uuid> = progress.steps.iter().map(|step| step.event_id).collect();
        let settled = status(&progress).is_some_and(OrderStatus::is_settled);
        let hold = if settled { Blockers::default() } else { order_blockers::of(connection, &events).await? };
        Ok::<_, Problem>((order, progress, hold))
    };
    app.database.run(ANSWER_WITHIN, reading).await
}

/// `None` for one that only a newer program knows.
fn status(progress: &Progress) -> Option<OrderStatus> {
    progress.status.parse().ok()
}

impl Shown {
    async fn new(app: &App, order: &Order, progress: &Progress, hold: Blockers) -> Self {
        let (status, cancel_requested) = (status(progress), progress.cancel_requested);
        let is_settled = status.is_some_and(OrderStatus::is_settled);
        let estimate = match status {
            // What waits for the customer has no time of ours.
            Some(status) if !is_settled && status != OrderStatus::ActionRequired => {
                Some(expected(app, status, progress, hold).await)
            }
            _ => None,
        };
        let turned = matches!(status, Some(OrderStatus::Cancelling));
        Self {
            id: order.id,
            number: order.number.clone(),
            version: progress.version,
            headline: steps::headline(status, cancel_requested),
            steps: steps::steps(&progress.steps, status.unwrap_or(OrderStatus::Shipped), cancel_requested),
            estimate,
            cancel_requested,
            can_cancel: !is_settled && !cancel_requested && !turned,
            declined: status == Some(OrderStatus::PaymentFailed),
            is_settled,
        }
    }
}

async fn expected(app: &App, status: OrderStatus, progress: &Progress, hold: Blockers) -> String {
    let Some(picture) = app.queue_forecast.now().await else { return estimate::Estimate::Unknown.sentence(None) };
    let path = match status {
        OrderStatus::Cancelling => {
            way::undoing(|kind| progress.steps.iter().any(|step| step.event == kind.routing_key()))
        }
        _ => way::path(status, progress.cancel_requested).to_vec(),
    };
    // Below zero where the clock was set back.
    let waited = Duration::try_from_secs_f64(progress.age).unwrap_or_default();
    // What is usual is so on the way to the customer, not on the way back.
    let forward = !progress.cancel_requested && status != OrderStatus::Cancelling;
    estimate::estimate(&picture, &path, waited, hold).sentence(picture.usual.filter(|_| forward))
}

/// A problem as a page.
fn trouble(problem: &Problem, undecided: Option<Uuid>) -> HttpResponse {
    if problem.code() == Code::OrderNotFound {
        return html(StatusCode::NOT_FOUND, &NotFoundPage);
    }
    let again_in = problem.retry_seconds().unwrap_or(5);
    let mut answer = html(problem.code().status(), &TroublePage { again_in, undecided });
    answer.headers_mut().insert(header::RETRY_AFTER, again_in.into());
    answer
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    async fn page(problem: &Problem, undecided: Option<Uuid>) -> String {
        let body = to_bytes(trouble(problem, undecided).into_body()).await.expect("it is all there");
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[actix_web::test]
    async fn a_wish_to_cancel_that_may_be_lost_leads_back_to_the_order() {
        let id = Uuid::now_v7();
        let away = Problem::database_unavailable();
        let text = page(&away, Some(id)).await;
        assert!(text.contains(&format!("; url=/track/{id}\"")), "a path that takes no GET is not loaded again: {text}");
        assert!(text.contains("whether your wish to cancel was written down"), "{text}");
        let text = page(&away, None).await;
        assert!(!text.contains("url=") && !text.contains("wish to cancel"), "{text}");
    }
}
