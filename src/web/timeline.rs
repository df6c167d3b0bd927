//! `GET /orders/{id}/timeline?after=N`

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{
    App, auth, get_order,
    problem::{Code, Problem},
};
use crate::{
    domain::OrderStatus,
    events::EventKind,
    store::{
        ANSWER_WITHIN, Connection,
        event_log::{self, Logged},
        orders,
    },
    timestamp,
};

#[derive(Serialize)]
struct Answer {
    order_id: Uuid,
    version: i32,
    entries: Vec<Entry>,
}

/// One thing that happened to an order, as its customer is told.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Entry {
    version: i32,
    event: &'static str,
    event_id: Uuid,
    status: OrderStatus,
    #[serde(with = "timestamp")]
    at: DateTime<Utc>,
    detail: Option<&'static str>,
}

/// What happened to the order after version N, oldest first, and never ahead of its status.
///
/// # Errors
/// 404 without the order's token, 400 for an `after` that is no version, 503 while the database is away.
pub async fn handle(request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let id = auth::order(&request, &app.links)?;
    let after = after(request.query_string())?;
    let reading = async |connection: &mut Connection| {
        // The order first: what its version covers is in the log by then.
        let order = orders::find(connection, id).await?.ok_or_else(Problem::order_not_found)?;
        Ok::<_, Problem>((order, event_log::histories(connection, &[id]).await?))
    };
    let (order, history) = app.database.run(ANSWER_WITHIN, reading).await?;
    let entries = entries(&history, after, order.version);
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, get_order::CACHE_CONTROL)).json(Answer {
        order_id: id,
        version: order.version,
        entries,
    }))
}

fn after(query: &str) -> Result<i32, Problem> {
    let given = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after");
    let Some((_, text)) = given else { return Ok(0) };
    text.parse().ok().filter(|after| *after >= 0).ok_or_else(|| {
        Problem::new(Code::InvalidParameter, "after has to be a version: a whole number from 0 to 2147483647.")
    })
}

fn entries(history: &[Logged], after: i32, upto: i32) -> Vec<Entry> {
    let mut status = OrderStatus::Pending;
    let folded = history.iter().take_while(|logged| logged.version <= upto).map(|logged| {
        // As the order service folds it: an event that has no place moves nothing.
        status = status.after(logged.kind).unwrap_or(status);
        Entry {
            version: logged.version,
            event: logged.kind.routing_key(),
            event_id: logged.event_id,
            status,
            at: logged.occurred_at,
            detail: detail(logged.kind),
        }
    });
    folded.filter(|entry| entry.version > after).collect()
}

/// What a customer is told of an event: no ids and no reasons of providers.
const fn detail(kind: EventKind) -> Option<&'static str> {
    Some(match kind {
        EventKind::OrderCreated => "We have received your order.",
        EventKind::PaymentCompleted => "Your payment is complete.",
        EventKind::PaymentFailed => "Your payment was declined. Nothing was charged.",
        EventKind::InventoryReserved => "Everything you ordered is set aside for you.",
        EventKind::InventoryRejected => "Something you ordered is no longer in stock.",
        EventKind::ShipmentCreated => "Your parcel is with the carrier.",
        EventKind::ShipmentFailed => "The carrier cannot take your parcel.",
        EventKind::OrderCancelRequested => "You asked us to cancel your order.",
        EventKind::ShipmentCancelled => "Your order will not be sent.",
        EventKind::InventoryReleased => "Nothing is set aside for you any more.",
        EventKind::PaymentRefunded => "Your payment was returned to you.",
        EventKind::PaymentVoided => "Nothing was charged.",
        EventKind::OrderCancelled => "Your order is cancelled.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(kinds: &[EventKind]) -> Vec<Logged> {
        let logged = |(kind, version): (&EventKind, i32)| Logged {
            order_id: Uuid::nil(),
            version,
            event_id: Uuid::nil(),
            kind: *kind,
            occurred_at: DateTime::UNIX_EPOCH,
            data: serde_json::Value::Null,
        };
        kinds.iter().zip(1..).map(logged).collect()
    }

    #[test]
    fn each_entry_has_the_status_after_it_and_none_is_ahead_of_the_order() {
        let history = history(&[EventKind::OrderCreated, EventKind::PaymentCompleted, EventKind::InventoryReserved]);
        let seen: Vec<_> =
            entries(&history, 0, 2).into_iter().map(|entry| (entry.version, entry.status.as_str())).collect();
        assert_eq!(seen, [(1, "pending"), (2, "paid")]);
    }

    #[test]
    fn after_leaves_out_what_is_known_but_not_from_the_status() {
        let history = history(&[EventKind::OrderCreated, EventKind::PaymentCompleted, EventKind::InventoryReserved]);
        let seen: Vec<_> =
            entries(&history, 2, 3).into_iter().map(|entry| (entry.version, entry.status.as_str())).collect();
        assert_eq!(seen, [(3, "reserved")]);
        assert_eq!(entries(&history, 3, 3), []);
    }

    #[test]
    fn after_is_a_version() {
        assert_eq!(after("").ok(), Some(0));
        assert_eq!(after("x=1&after=7").ok(), Some(7));
        for wrong in ["after=", "after=-1", "after=x", "after=1.5", "after=99999999999"] {
            assert_eq!(after(wrong).map_err(|problem| problem.code()), Err(Code::InvalidParameter), "{wrong}");
        }
    }
}
