//! `GET /ops/orders/{id}`: the full report on one order, as `orderflow why` prints it.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use askama::Template;

use super::{
    access::shown,
    answer::{Frame, page},
    words,
};
use crate::{
    ops::why::{
        Report,
        waiting::{State, Wait},
    },
    web::ops::{Console, links::Links, orders},
};

#[derive(Template)]
#[template(path = "ops_order.html")]
struct OrderPage {
    frame: Option<Frame>,
    report: Box<Report>,
    links: Links,
}

/// Returns the page of the order.
pub async fn handle(request: HttpRequest, id: Path<String>, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "orders", async |_, frame| {
        let report = orders::story(&console, &id).await?;
        Ok(page(&OrderPage { frame: Some(frame), report, links: console.links.clone() }))
    })
    .await
}

impl OrderPage {
    fn may_act(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.may_act)
    }

    /// Returns the queue and the order of a failed message, so that the page can offer a replay instead of a command.
    fn dead_letter(&self, wait: &Wait) -> Option<(String, String)> {
        let order = self.report.order.as_ref().filter(|_| wait.state == State::Parked)?;
        Some((wait.subscription.clone()?, order.order_id.to_string()))
    }

    fn trace(&self, traceparent: &Option<String>) -> Option<String> {
        self.links.trace(traceparent.as_deref()?.split('-').nth(1)?)
    }
}
