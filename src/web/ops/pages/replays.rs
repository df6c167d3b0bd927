//! `GET /ops/replays/{replay}`: the progress of a replay.

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
    store::replays::Replay,
    web::ops::{Console, replays},
};

#[derive(Template)]
#[template(path = "ops_replay.html")]
struct ReplayPage {
    frame: Option<Frame>,
    replay: Replay,
}

/// Returns the page of the replay.
pub async fn handle(request: HttpRequest, id: Path<String>, console: Data<Console>) -> HttpResponse {
    shown(&request, &console, "dead-letters", async |_, frame| {
        let replay = replays::get(&console, &id).await?;
        Ok(page(&ReplayPage { frame: Some(frame), replay }))
    })
    .await
}
