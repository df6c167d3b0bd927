//! `GET /admin/dead-letters`, and the selection of dead letters in a request.

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

/// The most messages that a request may list individually.
const NAMED: usize = 200;

/// A selection of a queue's dead letters: those that match every given criterion.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// The full name of the work queue.
    pub queue: String,
    /// Selects messages whose reason contains this text.
    #[serde(default)]
    pub reason: Option<String>,
    /// Selects messages of this order, by its id or number.
    #[serde(default)]
    pub order: Option<String>,
    /// Selects these messages.
    #[serde(default)]
    pub messages: Vec<String>,
    /// Selects at most this many, oldest first.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Chosen {
    /// Converts it to the commands' selection.
    ///
    /// # Errors
    /// 422 if there is no such queue, the order is given by neither id nor number, too many messages are listed, a text
    /// contains a zero byte, or the limit is 0. Requests refused here are not recorded in the log of actions.
    pub fn selection(&self) -> Result<Selection, Problem> {
        let invalid = |detail: &str| Problem::new(Code::InvalidRequest, detail.to_owned());
        if roster().of_queue(&self.queue).is_none() {
            return Err(invalid("queue must be the full name of a work queue; /admin/queues lists them."));
        }
        if self.messages.len() > NAMED {
            return Err(invalid("messages must contain at most 200 ids; select by reason instead."));
        }
        let order = self.order.clone().filter(|text| !text.is_empty());
        // The log of actions is kept permanently, so it must not contain an e-mail address.
        if order.as_ref().is_some_and(|text| text.parse::<Uuid>().is_err() && text.parse::<OrderNumber>().is_err()) {
            return Err(invalid("order must be an order's id or number; /admin/orders finds it by e-mail address."));
        }
        if self.reason.iter().chain(&self.messages).any(|text| text.contains('\0')) {
            return Err(invalid("reason and messages must not contain a zero byte."));
        }
        if self.limit == Some(0) {
            return Err(invalid("limit must be at least 1."));
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

/// The dead letters found.
#[derive(Serialize)]
pub struct DeadLetterList {
    /// The number of messages found.
    pub messages: usize,
    /// The groups by queue and cause, each queue's largest first.
    pub groups: Vec<Group>,
    /// One page of the messages, in full.
    pub items: Vec<Shown>,
    /// The cursor of the next page.
    pub next_cursor: Option<String>,
    /// Remarks, for example on missing messages.
    pub notes: Vec<String>,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

/// Returns dead letters, grouped by cause and individually.
///
/// # Errors
/// 400 for invalid parameters, 401 and 403 as everywhere, 503 while the broker is unavailable or if `AMQP_ADMIN_URL` is
/// not set.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&found(&console, &Query::of(&request)).await?))
}

/// Returns the dead letters that the parameters `queue`, `reason`, `order`, `message`, `cursor` and `limit` select.
///
/// # Errors
/// The same as for [`list`].
pub async fn found(console: &Console, query: &Query) -> Result<DeadLetterList, Problem> {
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
        // A partial selection cannot show which messages are missing.
        let notes = if whole { notes(&desk, &selection.subscriptions(), &mut snapshot).await } else { Vec::new() };
        let page: Vec<_> = snapshot.dead_letters.iter().skip(skip).take(limit).collect();
        // Without the database there are no order numbers; the notes say why.
        let numbers = desk.numbers(page.iter().filter_map(|letter| letter.order_id)).await.unwrap_or_default();
        let items: Vec<_> = page.into_iter().map(|letter| Shown::new(letter, &numbers)).collect();
        let (messages, end) = (snapshot.dead_letters.len(), skip.saturating_add(items.len()));
        let dead_letters = DeadLetterList {
            messages,
            groups: groups(&snapshot.dead_letters),
            items,
            next_cursor: (end < messages).then(|| end.to_string()),
            notes,
            unavailable: snapshot.unavailable,
        };
        put_back(desk).await?;
        Ok(dead_letters)
    };
    console.finish(looking).await
}

/// Takes the selected dead letters from their queue and holds them. The caller must have the turn, and keep it until
/// the messages are put back or other readers need no longer see them.
///
/// # Errors
/// 503 while the broker is unavailable, 404 for an unknown order.
pub async fn hold(console: &Console, broker: Broker, selection: &Selection) -> Result<(Desk, Snapshot), Problem> {
    let opening = Desk::at(broker.connector, console.database.clone());
    let mut desk = opening.await.map_err(Failed::from)?;
    let snapshot = selection.freeze(&mut desk).await?;
    Ok((desk, snapshot))
}

/// Returns all messages still held to their queue.
///
/// # Errors
/// 503 if the broker does not confirm it.
pub async fn put_back(desk: Desk) -> Result<(), Problem> {
    Ok(desk.dead_letters.close().await.map_err(Failed::from)?)
}
