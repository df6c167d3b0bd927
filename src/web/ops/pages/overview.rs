//! `GET /ops`: the current state of the shop.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;

use super::{
    access::shown,
    answer::{Frame, page},
    picture::{Picture, picture},
    spark::{Spark, spark},
    words,
};
use crate::{
    ops::queues::figures::Figures,
    web::ops::{Console, flow::Sample},
};

#[derive(Template)]
#[template(path = "ops_overview.html")]
struct Overview {
    frame: Option<Frame>,
    picture: Picture,
    rows: Vec<Row>,
    unavailable: Vec<String>,
    dead_letters: Option<u32>,
}

/// A queue in the table.
struct Row {
    figures: Figures,
    depth: Spark,
    lag: Spark,
    /// The queue in RabbitMQ's management UI, if its address is known.
    link: Option<String>,
    /// The badge: its text and its CSS class.
    state: Option<(&'static str, &'static str)>,
}

/// Returns the page with the flow and every queue.
pub async fn handle(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "overview", async |_, frame| {
        let (flow, database, broker) = (console.flow.clone(), console.database.clone(), console.queues().cloned());
        let samples = console.finish(async move { Ok(flow.watch(&database, broker.as_ref()).await) }).await?;
        let now = samples.last().cloned().unwrap_or_default();
        let rows: Vec<_> = now.queues.iter().map(|figures| row(&console, figures, &samples)).collect();
        let dead_letters = now.queues.iter().map(|one| one.dead_letters).sum();
        let picture = picture(now.orders, &now.queues);
        Ok(page(&Overview { frame: Some(frame), picture, rows, unavailable: now.unavailable, dead_letters }))
    })
    .await
}

fn row(console: &Console, figures: &Figures, samples: &[Sample]) -> Row {
    let values = |of: fn(&Figures) -> Option<f64>| -> Vec<Option<f64>> {
        let own = |sample: &Sample| sample.queues.iter().find(|one| one.queue == figures.queue).and_then(of);
        samples.iter().map(own).collect()
    };
    let over = samples.first().zip(samples.last()).map(|(first, last)| last.at.duration_since(first.at));
    let over = over.unwrap_or_default();
    let depth = values(|one| one.ready.map(f64::from));
    let lag = values(|one| one.lag_seconds);
    let state = match figures {
        one if one.consumers == Some(0) => Some(("no worker", "bad")),
        one if one.paused == Some(true) => Some(("paused", "warn")),
        one if one.needs_more() => Some(("needs more workers", "warn")),
        _ => None,
    };
    Row {
        depth: spark("Waiting", &depth, over, |value| format!("{value:.0}")),
        lag: spark("Lag", &lag, over, |value| words::seconds(&Some(value))),
        link: console.links.queue(&figures.queue),
        state,
        figures: figures.clone(),
    }
}
