//! `GET /admin/queues`

use actix_web::{HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use orderflow_events::timestamp;
use orderflow_service::config::Role;
use serde::Serialize;

use super::{Console, auth, list::answer};
use crate::{
    ops::queues::{self, figures::Figures},
    web::problem::Problem,
};

/// The output of `orderflow queues --json`, as a list.
#[derive(Serialize)]
struct Queues {
    #[serde(with = "timestamp")]
    generated_at: DateTime<Utc>,
    items: Vec<Figures>,
    next_cursor: Option<String>,
    /// What could not be read, and why.
    unavailable: Vec<String>,
}

/// Returns every work queue, in the order in which an order passes them. Values that could not be read are null and
/// named in `unavailable`.
///
/// # Errors
/// 401 and 403 as everywhere. An unavailable broker or database is not an error.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    let (broker, database) = (console.queues().cloned(), console.database.clone());
    let reading = async move { Ok(queues::read(broker.as_ref(), &database, queues::WITHIN).await) };
    let queues::Queues { figures: items, unavailable, .. } = console.finish(reading).await?;
    Ok(answer(&Queues { generated_at: Utc::now(), items, next_cursor: None, unavailable }))
}
