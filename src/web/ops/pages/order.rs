//! `GET /ops/orders/{id}`: one order's whole story, as `orderflow why` tells it.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use askama::Template;

use super::{Frame, page, shown, words};
use crate::{
    ops::why::Report,
    web::ops::{Console, links::Links, orders},
};

#[derive(Template)]
#[template(path = "ops_order.html")]
struct OrderPage {
    frame: Option<Frame>,
    report: Box<Report>,
    links: Links,
}

/// The story.
pub async fn handle(request: HttpRequest, id: Path<String>, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "orders", async |_, frame| {
        let report = orders::story(&console, &id).await?;
        Ok(page(&OrderPage { frame: Some(frame), report, links: console.links.clone() }))
    })
    .await
}

impl OrderPage {
    fn trace(&self, traceparent: &Option<String>) -> Option<String> {
        self.links.trace(traceparent.as_deref()?.split('-').nth(1)?)
    }
}
