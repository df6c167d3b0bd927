//! `POST /ops/dead-letters/replay`, `POST /ops/dead-letters/discard`: first a preview, then the action.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use askama::Template;

use super::{
    access::done,
    answer::{Frame, page, to},
    words,
};
use crate::{
    ops::dlq::sending::Pace,
    web::{
        ops::{
            Console,
            dead_letters::Chosen,
            discards::{self, DiscardReport},
            list::Query,
            replays::{self, Plan},
        },
        problem::{Code, Problem},
    },
};

/// How long to wait until the first messages are applied.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Template)]
#[template(path = "ops_replay_plan.html")]
struct ReplayPlan {
    frame: Option<Frame>,
    chosen: Chosen,
    plan: Plan,
}

#[derive(Template)]
#[template(path = "ops_discard.html")]
struct Discard {
    frame: Option<Frame>,
    chosen: Chosen,
    report: DiscardReport,
}

/// Returns the selection in the form.
fn chosen(fields: &Query) -> Result<Chosen, Problem> {
    let text = |name| fields.text(name).map(str::to_owned);
    Ok(Chosen {
        queue: text("queue").unwrap_or_default(),
        reason: text("reason"),
        order: text("order"),
        messages: text("message").into_iter().collect(),
        limit: fields.parsed("limit", "a whole number")?,
    })
}

/// Limits the selection to the messages shown. Messages that arrive while the operator reads are newer, and the oldest
/// are taken first.
fn as_shown(chosen: Chosen, selected: usize) -> Chosen {
    Chosen { limit: u32::try_from(selected).ok(), ..chosen }
}

/// Returns a preview of the replay; with `confirmed`, starts it.
pub async fn replay(request: HttpRequest, payload: Payload, console: Data<Console>) -> HttpResponse {
    done(&request, payload, &console, "dead-letters", async |operator, fields, frame| {
        let chosen = chosen(&fields)?;
        if fields.text("confirmed").is_none() {
            let plan = replays::plan(&console, &chosen).await?;
            let chosen = as_shown(chosen, plan.selected);
            return Ok(page(&ReplayPlan { frame: Some(frame), chosen, plan }));
        }
        let number = |name, least: u32, most: u32| {
            let expected = format!("a whole number from {least} to {most}");
            let number = fields.parsed::<u32>(name, &expected)?.unwrap_or(least);
            let wrong = || Problem::new(Code::InvalidParameter, format!("{name} must be {expected}."));
            if (least..=most).contains(&number) { Ok(number) } else { Err(wrong()) }
        };
        let (canaries, rate) = (number("canary", 1, 100)?, number("rate", 1, 1_000)?);
        let pace = Pace { canaries: usize::try_from(canaries).unwrap_or(1), rate, patience: PATIENCE };
        let id = replays::start(&console, operator.actor(&request), &chosen, pace).await?;
        Ok(to(format!("/ops/replays/{id}")))
    })
    .await
}

/// Returns a preview of the discard; with `confirmed`, discards.
pub async fn discard(request: HttpRequest, payload: Payload, console: Data<Console>) -> HttpResponse {
    done(&request, payload, &console, "dead-letters", async |operator, fields, frame| {
        let (chosen, dry_run) = (chosen(&fields)?, fields.text("confirmed").is_none());
        let report = discards::discard_chosen(&console, operator.actor(&request), chosen.clone(), dry_run).await?;
        let chosen = as_shown(chosen, report.selected);
        Ok(page(&Discard { frame: Some(frame), chosen, report }))
    })
    .await
}
