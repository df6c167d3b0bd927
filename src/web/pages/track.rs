//! `GET /track/{id}`: the status page of an order, for anyone who has its link. The page shows the current state. The
//! script `assets/track.js` reloads the moving part whenever the order changes; without it the whole page refreshes.

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
    /// Whether the reader has turned off the refresh that the page does without scripts (WCAG 2.2.1 and 2.2.2).
    still: bool,
}

/// The moving part of the page.
#[derive(Template)]
#[template(path = "progress.html")]
struct ProgressPart {
    order: Shown,
}

/// The content of the moving part.
struct Shown {
    id: Uuid,
    number: String,
    version: i32,
    headline: Headline,
    steps: Vec<Step>,
    /// The estimate; `None` if the order is settled, waits for the customer, or has an unknown status.
    estimate: Option<String>,
    can_cancel: bool,
    cancel_requested: bool,
    declined: bool,
    /// Whether the order is settled, so the customer waits for nothing more.
    is_settled: bool,
}

struct Item {
    name: String,
    picture: String,
    quantity: i32,
    price: String,
    amount: String,
}

/// The page for an unknown order, or a link that does not open it; it does not reveal which.
#[derive(Template)]
#[template(path = "not_found.html")]
pub struct NotFoundPage;

/// The page for an order that cannot be shown now.
#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    /// When the page tries again, in seconds.
    again_in: u64,
    /// The order whose request to cancel may or may not have been recorded; its page shows which.
    undecided: Option<Uuid>,
}

/// Returns the order's page. If the address contains a token, sets the order's cookie and redirects to the address
/// without it: the address stays in the browser's history and is visible on the screen.
pub async fn handle(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let query = url::form_urlencoded::parse(request.query_string().as_bytes()).find(|(name, _)| name == "t");
    let shown = match query {
        Some((_, token)) => open(&request, &app, &token),
        None => show(&request, &app).await,
    };
    shown.unwrap_or_else(|problem| trouble(&problem, None))
}

/// Returns the moving part of the page, for its script.
pub async fn progress(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let part = async {
        let id = auth::order(&request, &app.links)?;
        let (order, progress, hold) = read(&app, id).await?;
        Ok::<_, Problem>(html(StatusCode::OK, &ProgressPart { order: Shown::new(&app, &order, &progress, hold).await }))
    };
    part.await.unwrap_or_else(|problem| trouble(&problem, None))
}

/// Requests that the order be cancelled, and redirects to its page, which shows the outcome.
pub async fn cancel(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let asking = async {
        let id = auth::order(&request, &app.links)?;
        match cancel_order::write_down(&app, id).await {
            // The page shows why it is too late.
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

/// Sets the cookie of an order that was placed or whose link was followed, and redirects to its page.
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

/// Returns the order's status, or `None` if only a newer version knows it.
fn status(progress: &Progress) -> Option<OrderStatus> {
    progress.status.parse().ok()
}

impl Shown {
    async fn new(app: &App, order: &Order, progress: &Progress, hold: Blockers) -> Self {
        let (status, cancel_requested) = (status(progress), progress.cancel_requested);
        let is_settled = status.is_some_and(OrderStatus::is_settled);
        let estimate = match status {
            // No estimate can include the time that the customer takes.
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
    // The age is negative if the clock was set back.
    let waited = Duration::try_from_secs_f64(progress.age).unwrap_or_default();
    // The usual time is that of the forward chain; it does not apply to a cancelled order.
    let forward = !progress.cancel_requested && status != OrderStatus::Cancelling;
    estimate::estimate(&picture, &path, waited, hold).sentence(picture.usual.filter(|_| forward))
}

/// Returns a problem as a page.
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
        let body = to_bytes(trouble(problem, undecided).into_body()).await.expect("the body is complete");
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[actix_web::test]
    async fn an_undecided_cancel_request_leads_back_to_the_order() {
        let id = Uuid::now_v7();
        let away = Problem::database_unavailable();
        let text = page(&away, Some(id)).await;
        assert!(
            text.contains(&format!("; url=/track/{id}\"")),
            "a path that does not support GET is not reloaded: {text}"
        );
        assert!(text.contains("whether your request to cancel was recorded"), "{text}");
        let text = page(&away, None).await;
        assert!(!text.contains("url=") && !text.contains("request to cancel"), "{text}");
    }
}
