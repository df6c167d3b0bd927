//! `GET /ops/dead-letters`: dead letters by cause and individually.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use askama::Template;

use super::{
    access::shown,
    answer::{Frame, html, query_string},
    words,
};
use crate::{
    ops::dlq::{Shown, group::Group},
    services::roster,
    store::replays::Replay,
    web::{
        ops::{
            Console,
            dead_letters::{self, DeadLetterList},
            links::Links,
            list::Query,
            replays,
        },
        problem::Problem,
    },
};

#[derive(Template)]
#[template(path = "ops_dead_letters.html")]
struct DeadLetters {
    frame: Option<Frame>,
    queue: String,
    reason: String,
    order: String,
    dead_letters: Option<DeadLetterList>,
    /// The query of the next page.
    next: Option<String>,
    problem: Option<Problem>,
    replays: Vec<Replay>,
    links: Links,
}

/// Returns the page with the dead letters and the latest replays.
pub async fn handle(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "dead-letters", async |_, frame| {
        let query = Query::of(&request);
        let text = |name| query.text(name).unwrap_or_default().to_owned();
        let (queue, reason, order) = (text("queue"), text("reason"), text("order"));
        let (dead_letters, problem) = match dead_letters::found(&console, &query).await {
            Ok(dead_letters) => (Some(dead_letters), None),
            Err(problem) => (None, Some(problem)),
        };
        let cursor = dead_letters.as_ref().and_then(|dead_letters| dead_letters.next_cursor.as_ref());
        let next = cursor.map(|cursor| {
            query_string(&[("queue", &queue), ("reason", &reason), ("order", &order), ("cursor", cursor)])
        });
        // Without the database the page shows no replays; the notices above say why.
        let replays =
            replays::page(&console, &Query::parse(b"limit=5")).await.map_or_else(|_| Vec::new(), |page| page.items);
        let code = problem.as_ref().map_or(StatusCode::OK, |problem| problem.code().status());
        let (frame, links) = (Some(frame), console.links.clone());
        Ok(html(code, &DeadLetters { frame, queue, reason, order, dead_letters, next, problem, replays, links }))
    })
    .await
}

impl DeadLetters {
    fn may_act(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.may_act)
    }

    fn is_queue(&self, one: &str) -> bool {
        self.queue == one
    }

    /// Returns the work queue of a dead-letter queue, as forms and links name it.
    fn work_queue(&self, queue: &str) -> String {
        queue.strip_suffix(".dlq").unwrap_or(queue).to_owned()
    }

    fn only(&self, group: &Group) -> String {
        query_string(&[("queue", &self.work_queue(&group.queue)), ("reason", &group.reason)])
    }

    fn queues(&self) -> Vec<String> {
        roster().subscriptions().iter().map(|one| one.queue()).collect()
    }

    fn body(&self, letter: &Shown) -> String {
        serde_json::to_string_pretty(&letter.body).unwrap_or_default()
    }
}
