//! `GET /ops/audit`: the log of actions.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use askama::Template;
use uuid::Uuid;

use super::{
    access::shown,
    answer::{Frame, page, query_string},
    deeds::deed,
    words,
};
use crate::{
    store::actions::Action,
    web::ops::{Console, actions, list::Query},
};

#[derive(Template)]
#[template(path = "ops_audit.html")]
struct Audit {
    frame: Option<Frame>,
    actions: Vec<Action>,
    next: Option<String>,
}

impl Audit {
    /// Returns the action in sentences.
    fn deed(&self, action: &Action) -> String {
        deed(action)
    }

    /// Returns the replay that the action concerns.
    fn replay(&self, action: &Action) -> Option<Uuid> {
        action.details.get("replay_id")?.as_str()?.parse().ok()
    }
}

/// Returns a page of the log.
pub async fn handle(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "audit", async |_, frame| {
        let found = actions::page(&console, &Query::of(&request)).await?;
        let next = found.next_cursor.map(|cursor| query_string(&[("cursor", &cursor)]));
        Ok(page(&Audit { frame: Some(frame), actions: found.items, next }))
    })
    .await
}
