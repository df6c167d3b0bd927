//! `POST /orders/{id}/cancel`

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use diesel_async::AsyncConnection as _;
use orderflow_order::{
    domain::OrderStatus,
    placing::intake,
    store::{
        cancel::{self, CancelRequest},
        orders,
    },
};
use orderflow_service::{
    broker::Relay,
    store::{ANSWER_WITHIN, Connection, Database, StoreError},
};
use rand::RngExt as _;
use uuid::Uuid;

use super::{
    App, auth, get_order,
    problem::{Code, Problem},
};

/// A service may write to the order's log at the same moment, at most one after the other: four steps and their undoing.
const TRIES: u32 = 10;

/// How long the transaction may take before the customer is told to try again.
const DEADLINE: Duration = Duration::from_secs(10);

/// 202 and the order: it is written down that the customer wants it cancelled, and whether it still can be is decided
/// by the shipping service. Asked again, the answer is the same.
///
/// # Errors
/// 404 without the order's token, 409 once the order has shipped or failed, 503 while the database is away.
pub async fn handle(request: HttpRequest, app: Data<App>) -> Result<HttpResponse, Problem> {
    let id = auth::order(&request, &app.links)?;
    write_down(&app, id).await?;
    let reading = async |connection: &mut Connection| {
        let order = orders::find(connection, id).await?.ok_or_else(Problem::order_not_found)?;
        Ok::<_, Problem>((order, orders::lines(connection, id).await?))
    };
    let (order, lines) = app.database.run(ANSWER_WITHIN, reading).await?;
    Ok(get_order::in_full(HttpResponse::Accepted(), &order, &lines))
}

/// Writes down that the customer of this order wants it cancelled.
///
/// # Errors
/// See [`handle`].
pub async fn write_down(app: &App, id: Uuid) -> Result<(), Problem> {
    let (database, relay) = (app.database.clone(), app.relay.clone());
    // A task of its own: a customer who goes away leaves no transaction open.
    let cancelling = tokio::spawn(async move { cancel(&database, &relay, id).await });
    let outcome = match tokio::time::timeout(DEADLINE, cancelling).await {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(panicked)) => {
            tracing::error!(%panicked, order.id = %id, "a request to cancel was given up");
            return Err(Problem::new(
                Code::Internal,
                "The request failed and the cause is logged under this request_id.",
            ));
        }
        // It may be written down all the same; asking again is safe.
        Err(_) => return Err(StoreError::TimedOut(DEADLINE).into()),
    };
    match outcome {
        CancelRequest::Unknown => Err(Problem::order_not_found()),
        CancelRequest::TooLate(status) => Err(Problem::new(Code::OrderNotCancellable, why_not(status))),
        CancelRequest::Requested(_) => {
            app.live.moved(id);
            Ok(())
        }
    }
}

async fn cancel(database: &Database, relay: &Relay, id: Uuid) -> Result<CancelRequest, StoreError> {
    let mut tries = 0;
    loop {
        let asking = async |connection: &mut Connection| {
            connection
                .transaction::<_, StoreError, _>(async |connection| {
                    cancel::request(connection, intake::SOURCE, id).await
                })
                .await
        };
        let outcome = database.run(DEADLINE, asking).await;
        tries += 1;
        match outcome {
            Ok(CancelRequest::Requested(events)) => {
                relay.submit(events);
                return Ok(CancelRequest::Requested(Vec::new()));
            }
            Err(error) if (error.is_unique_violation() || error.is_passing()) && tries < TRIES => {
                let pause = Duration::from_millis(rand::rng().random_range(2..20));
                tokio::time::sleep(pause).await;
            }
            other => return other,
        }
    }
}

fn why_not(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::PaymentFailed => "The payment was declined: nothing was charged, and nothing will be sent.",
        _ => "The parcel is with the carrier and cannot be called back.",
    }
}
