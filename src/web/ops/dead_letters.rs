//! `GET /admin/dead-letters`, and which dead letters a request means.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use orderflow_order::domain::OrderNumber;
use orderflow_service::config::Role;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Console, auth,
    console::Broker,
    list::{Query, answer},
};
use crate::{
    ops::{
        Failed,
        dlq::{
            Desk, QueuePattern, Selection, Shown, Snapshot,
            group::{Group, groups},
            notes,
        },
    },
    services::roster,
    web::problem::{Code, Problem},
};

/// Messages that a request may name one by one.
const NAMED: usize = 200;

/// Which dead letters of a queue: those to which everything applies that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// The work queue, by its whole name.
    pub queue: String,
    /// Those whose reason contains this text.
    #[serde(default)]
    pub reason: Option<String>,
    /// Those of this order, by its id or number.
    #[serde(default)]
    pub order: Option<String>,
    /// These messages.
    #[serde(default)]
    pub messages: Vec<String>,
    /// At most so many, the oldest first.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Chosen {
    /// As the commands have it.
    ///
    /// # Errors
    /// 422 where there is no such queue, an order is named by neither its id nor its number, too many messages are named,
    /// or a text has a zero byte. What is refused here is not written down.
    pub fn selection(&self) -> Result<Selection, Problem> {
        let invalid = |detail: &str| Problem::new(Code::InvalidRequest, detail.to_owned());
        if roster().of_queue(&self.queue).is_none() {
            return Err(invalid("queue has to be a work queue's whole name; /admin/queues lists them."));
        }
        if self.messages.len() > NAMED {
            return Err(invalid("messages has at most 200 names; choose by reason instead."));
        }
        let order = self.order.clone().filter(|text| !text.is_empty());
        // Who did what is written down for good, so an e-mail address may not get there.
        if order.as_ref().is_some_and(|text| text.parse::<Uuid>().is_err() && text.parse::<OrderNumber>().is_err()) {
            return Err(invalid("order has to be an order's id or number; /admin/orders finds it by e-mail address."));
        }
        if self.reason.iter().chain(&self.messages).any(|text| text.contains('\0')) {
            return Err(invalid("reason and messages have no zero byte."));
        }
        if self.limit == Some(0) {
            return Err(invalid("limit is at least 1."));
        }
        Ok(Selection {
            queue: Some(pattern(&self.queue)?),
            reason: self.reason.clone().filter(|text| !text.is_empty()),
            order,
            messages: self.messages.clone(),
            limit: self.limit,
            all: true,
        })
    }
}

fn pattern(text: &str) -> Result<QueuePattern, Problem> {
    let known = text.parse::<QueuePattern>().and_then(|pattern| pattern.check().map(|()| pattern));
    known.map_err(|why| Problem::new(Code::InvalidParameter, format!("queue: {why}.")))
}

/// What was found in dead-letter queues.
#[derive(Serialize)]
pub struct Letters {
    /// How many.
    pub messages: usize,
    /// By queue and cause, each queue's largest first.
    pub groups: Vec<Group>,
    /// A part of them, whole.
    pub items: Vec<Shown>,
    /// What to ask for the next part with.
    pub next_cursor: Option<String>,
    /// What to know besides.
    pub notes: Vec<String>,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

/// Dead letters: grouped by cause, and one by one.
///
/// # Errors
/// 400 for parameters that are none, 401 and 403 as everywhere, 503 while the broker is away or where no administrator is
/// set.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&found(&console, &Query::of(&request)).await?))
}

/// The dead letters that the parameters `queue`, `reason`, `order`, `message`, `cursor` and `limit` mean.
///
/// # Errors
/// As of [`list`].
pub async fn found(console: &Console, query: &Query) -> Result<Letters, Problem> {
    let text = |name| query.text(name).map(str::to_owned);
    let selection = Selection {
        queue: query.text("queue").map(pattern).transpose()?,
        reason: text("reason"),
        order: text("order"),
        messages: text("message").into_iter().collect(),
        limit: None,
        all: true,
    };
    let (skip, limit) = (query.cursor::<usize>()?.unwrap_or(0), query.limit()?);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let broker = console.broker()?;
    let held = console.clone();
    let looking = async move {
        let _turn = held.turn().await?;
        let (desk, mut snapshot) = hold(&held, broker, &selection).await?;
        let whole = selection.reason.is_none() && selection.order.is_none() && selection.messages.is_empty();
        // Of a part of them nobody can say what is missing.
        let notes = if whole { notes(&desk, &selection.subscriptions(), &mut snapshot).await } else { Vec::new() };
        let page: Vec<_> = snapshot.letters.iter().skip(skip).take(limit).collect();
        // Without the database they have no numbers, and the notes say why.
        let numbers = desk.numbers(page.iter().filter_map(|letter| letter.order_id)).await.unwrap_or_default();
        let items: Vec<_> = page.into_iter().map(|letter| Shown::new(letter, &numbers)).collect();
        let (messages, end) = (snapshot.letters.len(), skip.saturating_add(items.len()));
        let letters = Letters {
            messages,
            groups: groups(&snapshot.letters),
            items,
            next_cursor: (end < messages).then(|| end.to_string()),
            notes,
            unavailable: snapshot.unavailable,
        };
        put_back(desk).await?;
        Ok(letters)
    };
    console.finish(looking).await
}

/// Takes the dead letters that are chosen in hand. Whoever calls this has the turn, until all is put back or nobody else
/// minds that some are not there.
///
/// # Errors
/// 503 while the broker is away, 404 for an order that there is not.
pub async fn hold(console: &Console, broker: Broker, selection: &Selection) -> Result<(Desk, Snapshot), Problem> {
    let opening = Desk::at(broker.connector, console.database.clone());
    let mut desk = opening.await.map_err(Failed::from)?;
    let snapshot = selection.freeze(&mut desk).await?;
    Ok((desk, snapshot))
}

/// Puts everything back that is still held.
///
/// # Errors
/// 503 when the broker does not confirm it.
pub async fn put_back(desk: Desk) -> Result<(), Problem> {
    Ok(desk.letters.close().await.map_err(Failed::from)?)
}
