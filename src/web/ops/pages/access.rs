//! Access to pages and forms.

use actix_web::{HttpRequest, HttpResponse, web::Payload};
use orderflow_service::config::Role;

use super::{
    answer::{Frame, problem_answer, sorry},
    login,
};
use crate::web::{
    body,
    ops::{
        Console,
        auth::{self, Operator},
        list::Query,
        session,
    },
    problem::Problem,
    request_id,
};

/// Returns the page for a logged-in operator. Others get the login form, or a problem if no operators are configured.
pub async fn shown(
    request: &HttpRequest,
    console: &Console,
    at: &'static str,
    show: impl AsyncFnOnce(&Operator, Frame) -> Result<HttpResponse, Problem>,
) -> HttpResponse {
    if let Err(off) = auth::are_on(console) {
        return sorry(&off, None);
    }
    let Some(operator) = session::operator(request, console).await else { return login::first(request) };
    let shown = show(&operator, Frame::of(&operator, at)).await;
    shown.unwrap_or_else(|problem| {
        problem_answer(&problem, Some(Frame::of(&operator, at)), Some(request_id::of(request)))
    })
}

/// Performs a form's action for an operator who may act, if the form came from our own pages.
pub async fn done(
    request: &HttpRequest,
    payload: Payload,
    console: &Console,
    at: &'static str,
    act: impl AsyncFnOnce(&Operator, Query, Frame) -> Result<HttpResponse, Problem>,
) -> HttpResponse {
    shown(request, console, at, async |operator, frame| {
        session::is_own_form(request)?;
        let operator = operator.clone().needs(Role::Operate)?;
        let fields = Query::from_pairs(body::form(request, payload).await?);
        act(&operator, fields, frame).await
    })
    .await
}
