//! `POST /orders/{id}/cancel`

use actix_web::{HttpRequest, HttpResponse, web::Data};
use orderflow_order::{
    cancelling::{self, Refused},
    domain::OrderStatus,
    store::orders,
};
use orderflow_service::store::{ANSWER_WITHIN, Connection};
use uuid::Uuid;

use super::{
    app::App,
    auth, get_order,
    problem::{Code, Problem},
};

/// Records that the customer wants the order cancelled, and answers 202 with the order. The shipping service decides
/// whether it can still be cancelled. The request is safe to repeat.
///
/// # Errors
/// 404 without the order's token, 409 once the order has shipped or failed, 503 while the database is unavailable.
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

/// Records that the customer wants this order cancelled.
///
/// # Errors
/// See [`handle`].
pub async fn write_down(app: &App, id: Uuid) -> Result<(), Problem> {
    cancelling::request(&app.database, &app.relay, id).await?;
    app.live.moved(id);
    Ok(())
}

impl From<Refused> for Problem {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Unknown => Self::order_not_found(),
            Refused::TooLate(status) => Self::new(Code::OrderNotCancellable, why_not(status)),
            Refused::GivenUp => {
                Self::new(Code::Internal, "The request failed and the cause is logged under this request_id.")
            }
            Refused::Store(error) => error.into(),
        }
    }
}

fn why_not(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::PaymentFailed => "The payment was declined: nothing was charged, and nothing will be sent.",
        _ => "The parcel is already with the carrier and cannot be recalled.",
    }
}
