//! `GET /ops/login`, `POST /ops/login`, `POST /ops/logout`

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Payload},
};
use askama::Template;
use orderflow_service::store::{ANSWER_WITHIN, Connection};
use serde_json::json;

use super::answer::{Frame, html, query_string, sorry, to};
use crate::{
    ops::{Principal, What},
    store::actions::Outcome,
    web::{
        body,
        ops::{Console, auth, list::Query, session},
        problem::Problem,
        request_id,
    },
};

#[derive(Template)]
#[template(path = "ops_login.html")]
struct LoginPage {
    frame: Option<Frame>,
    /// The page to open after the login.
    next: String,
    wrong: bool,
}

/// Returns the login form.
pub async fn form(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    if let Err(off) = auth::are_on(&console) {
        return sorry(&off, None);
    }
    let next = next(&Query::of(&request));
    if session::operator(&request, &console).await.is_some() {
        return to(next);
    }
    html(StatusCode::OK, &LoginPage { frame: None, next, wrong: false })
}

/// Redirects to the login form, which leads back to the requested page.
pub fn first(request: &HttpRequest) -> HttpResponse {
    // A form that was sent after the session expired is not submitted again automatically.
    let path = if request.method().is_safe() { request.path() } else { "/ops" };
    to(format!("/ops/login?{}", query_string(&[("next", path)])))
}

/// Returns the page to open after the login, only ever one of our own.
fn next(query: &Query) -> String {
    let is_ours = |path: &&str| {
        let below = path.strip_prefix("/ops").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
    };
    query.text("next").filter(is_ours).unwrap_or("/ops").to_owned()
}

/// Logs in an operator by their token.
pub async fn log_in(request: HttpRequest, payload: Payload, console: Data<Console>) -> HttpResponse {
    try_log_in(&request, payload, &console).await.unwrap_or_else(|problem| sorry(&problem, None))
}

async fn try_log_in(request: &HttpRequest, payload: Payload, console: &Console) -> Result<HttpResponse, Problem> {
    auth::are_on(console)?;
    session::is_own_form(request)?;
    let fields = Query::from_pairs(body::form(request, payload).await?);
    let next = next(&fields);
    let known = fields.text("token").map(|token| auth::known(request, console, token)).transpose()?.flatten();
    let Some(known) = known else {
        return Ok(html(StatusCode::UNAUTHORIZED, &LoginPage { frame: None, next, wrong: true }));
    };
    let (database, actor) =
        (console.database.clone(), Principal::operator(&known.name, known.role, request_id::of(request)));
    // The login succeeds without the database, too: the console must be able to show the outage.
    let noting = async move {
        let noting = async |connection: &mut Connection| {
            actor.note(connection, (What::LogIn, "/ops"), &json!({}), Outcome::Done).await
        };
        Ok(database.run(ANSWER_WITHIN, noting).await?)
    };
    drop(console.finish(noting).await);
    let cookie = session::open(request, console, known);
    Ok(HttpResponse::SeeOther()
        .insert_header((header::LOCATION, next))
        .insert_header((header::SET_COOKIE, cookie))
        .finish())
}

/// Logs out: ends the session at the server and removes the browser's cookie.
pub async fn log_out(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    if let Err(foreign) = session::is_own_form(&request) {
        return sorry(&foreign, None);
    }
    let ended = session::end(&request, &console).await;
    let mut answer = ended.map_or_else(|problem| sorry(&problem, None), |()| to("/ops/login"));
    // Our cookie contains no bytes that are invalid in a header.
    if let Ok(cookie) = header::HeaderValue::from_str(&session::close(&request)) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_redirects_only_to_the_console() {
        let after = |path: &str| next(&Query::parse(format!("next={path}").as_bytes()));
        assert_eq!(
            after("/ops/orders/0198f1c2-7c00-7000-8000-000000000001"),
            "/ops/orders/0198f1c2-7c00-7000-8000-000000000001"
        );
        for elsewhere in ["https://evil.example", "//evil.example", "/opsx", "/ops%0d%0aX:1", "/admin/orders", ""] {
            assert_eq!(after(elsewhere), "/ops", "{elsewhere}");
        }
    }
}
