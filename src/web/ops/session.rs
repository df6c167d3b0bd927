//! The cookie that keeps an operator logged in: `name.session.expiry.HMAC-SHA256`. Sessions are not stored; only ended
//! ones are. A session that was ended by logging out is invalid at every front end.
//!
//! The signature covers the hash of the operator's token, so removing the token from `OPERATOR_TOKENS`, or changing it,
//! also ends the sessions.

use actix_web::{HttpRequest, http::header};
use chrono::{DateTime, Duration, Utc};
use hmac::Mac as _;
use orderflow_order::{domain, token};
use orderflow_service::{
    config::OperatorToken,
    store::{ANSWER_WITHIN, Connection},
    telemetry,
};
use serde_json::json;
use uuid::Uuid;

use super::{Console, auth::Operator};
use crate::{
    ops::What,
    store::{actions::Outcome, sessions},
    web::problem::{Code, Problem},
};

/// How long a session lasts: longer than a working day.
const LIFETIME: Duration = Duration::hours(12);

const NAME: &str = "orderflow-console";

/// The purpose in the signed text. An order's token signs an id, so it can never be a session.
const PURPOSE: &str = "orderflow console session";

/// How long to wait for the database to say whether a session was ended. Without an answer the session counts as valid:
/// the console must open during a database outage, to show it.
const KNOWN_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// An operator's login.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    operator: Operator,
    id: Uuid,
    expires: DateTime<Utc>,
}

/// Returns the operator of the request's session. `None` without a session, and for a session that is forged, expired,
/// ended, or of a former operator.
pub async fn operator(request: &HttpRequest, console: &Console) -> Option<Operator> {
    let session = of(request, console)?;
    if console.ended.contains(session.id) {
        return None;
    }
    let asking = async |connection: &mut Connection| sessions::is_ended(connection, session.id).await;
    match console.database.run(KNOWN_WITHIN, asking).await {
        Ok(true) => None,
        Ok(false) => Some(session.operator),
        Err(error) => {
            tracing::debug!(
                error = telemetry::chain(&error),
                "cannot read whether a session was ended; treating it as valid"
            );
            Some(session.operator)
        }
    }
}

/// Returns the operator whose name a problem page shows. That page gives no access, so sessions ended at other front
/// ends are not looked up.
#[must_use]
pub fn shown(request: &HttpRequest, console: &Console) -> Option<Operator> {
    of(request, console).filter(|session| !console.ended.contains(session.id)).map(|session| session.operator)
}

/// Ends the request's session: immediately in this process, and through the database at every front end.
///
/// # Errors
/// 503 if the database cannot store it.
pub async fn end(request: &HttpRequest, console: &Console) -> Result<(), Problem> {
    let Some(session) = of(request, console) else { return Ok(()) };
    console.ended.add(session.id, session.expires);
    let (database, actor) = (console.database.clone(), session.operator.actor(request));
    let ending = async move {
        let ending = async |connection: &mut Connection| {
            sessions::end(connection, session.id, session.expires).await?;
            actor.note(connection, (What::LogOut, "/ops"), &json!({}), Outcome::Done).await
        };
        Ok(database.run(ANSWER_WITHIN, ending).await?)
    };
    console.finish(ending).await.map_err(|_| {
        Problem::new(
            Code::DatabaseUnavailable,
            "This browser is logged out. At other front ends the session lasts until it expires, since the database \
             is unavailable. To end it there, remove the token from OPERATOR_TOKENS.",
        )
    })
}

/// Returns the request's session, whether or not it was ended.
fn of(request: &HttpRequest, console: &Console) -> Option<Session> {
    let headers = request.headers().get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
    let mut cookies = headers.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    cookies.find_map(|(name, value)| (name == NAME).then(|| opened(console, value, Utc::now())).flatten())
}

fn opened(console: &Console, value: &str, now: DateTime<Utc>) -> Option<Session> {
    // The name may contain dots.
    let mut parts = value.rsplitn(4, '.');
    let (signature, expiry, id, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (signature, expiry) = (hex::decode(signature).ok()?, expiry.parse::<i64>().ok()?);
    let id = domain::canonical_id(id)?;
    let known = console.tokens.iter().find(|one| one.name == name)?;
    let text = signed(known, id, expiry);
    let is_ours = console.secrets.iter().any(|secret| token::mac(secret, &text).verify_slice(&signature).is_ok());
    let expires = DateTime::from_timestamp(expiry, 0).filter(|expires| is_ours && *expires > now)?;
    Some(Session { operator: Operator { name: known.name.clone(), role: known.role }, id, expires })
}

/// Returns the cookie to set after a login.
#[must_use]
pub fn open(request: &HttpRequest, console: &Console, known: &OperatorToken) -> String {
    let (id, expiry) = (Uuid::now_v7(), (Utc::now() + LIFETIME).timestamp());
    let text = signed(known, id, expiry);
    // The configuration has at least one secret.
    let signature =
        console.secrets.first().map(|secret| hex::encode(token::mac(secret, &text).finalize().into_bytes()));
    cookie(request, &format!("{}.{id}.{expiry}.{}", known.name, signature.unwrap_or_default()), LIFETIME.num_seconds())
}

/// Returns the cookie to set after a logout.
#[must_use]
pub fn close(request: &HttpRequest) -> String {
    cookie(request, "", 0)
}

fn cookie(request: &HttpRequest, value: &str, seconds: i64) -> String {
    // Browsers discard `Secure` cookies that arrive over plain HTTP, which is used on the machine itself.
    let is_tls = origin(request).is_some_and(|origin| origin.starts_with("https://"));
    let secure = if is_tls { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/ops; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn signed(known: &OperatorToken, id: Uuid, expiry: i64) -> String {
    format!("{PURPOSE}|{}|{id}|{expiry}|{}", known.name, hex::encode(known.hash))
}

fn origin(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::ORIGIN)?.to_str().ok()
}

/// Checks that a form came from one of our own pages. Browsers report the origin of every POST, and no other site can
/// forge it.
///
/// # Errors
/// 403 for a form of another site, or without an origin.
pub fn is_own_form(request: &HttpRequest) -> Result<(), Problem> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text("host").unwrap_or_default();
    // No script can set this header. Browsers omit it over plain HTTP to another machine.
    let site = text("sec-fetch-site");
    let is_own = match origin(request) {
        _ if site.is_some_and(|site| site != "same-origin") => false,
        Some("null") => site == Some("same-origin"),
        Some(origin) => {
            let from = origin.strip_prefix("https://").or(origin.strip_prefix("http://"));
            !host.is_empty() && from == Some(host)
        }
        None => false,
    };
    if is_own {
        return Ok(());
    }
    let detail = "Use the console's own pages. A proxy in front of it must not change the headers Host and Origin.";
    Err(Problem::new(Code::ForeignOrigin, detail))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use secrecy::SecretString;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::web::client::Clients;
    use orderflow_service::config::{DatabaseConfig, OperatorsConfig, Role};

    fn ada(hash: u8) -> OperatorToken {
        OperatorToken { name: "ada.l".to_owned(), role: Role::Operate, hash: [hash; 32] }
    }

    fn console(tokens: Vec<OperatorToken>, secrets: &[&str]) -> Console {
        let config = OperatorsConfig { tokens, broker: None, ui_url: None, trace_viewer: None };
        let database = DatabaseConfig::at(SecretString::from("postgres://nobody@127.0.0.1:1/nothing"));
        let secrets: Vec<_> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
        let clients = Clients::new(&[]);
        Console::new(&config, &secrets, (&database, 1), clients, CancellationToken::new())
            .expect("no connection is opened")
    }

    fn value(console: &Console, known: &OperatorToken) -> String {
        let set = open(&TestRequest::default().to_http_request(), console, known);
        let (pair, attributes) = set.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Path=/ops; Max-Age=43200; HttpOnly; SameSite=Strict");
        pair.split_once('=').expect("a value").1.to_owned()
    }

    #[tokio::test]
    async fn a_session_is_valid_until_it_expires_or_the_token_changes() {
        let one = console(vec![ada(1)], &["first"]);
        let cookie = value(&one, &ada(1));
        let now = Utc::now();
        let opened = |console: &Console, value: &str, now| opened(console, value, now).map(|session| session.operator);
        let expected = Some(Operator { name: "ada.l".to_owned(), role: Role::Operate });
        assert_eq!(opened(&one, &cookie, now), expected);
        assert_eq!(opened(&one, &cookie, now + Duration::hours(13)), None);
        assert_eq!(opened(&console(vec![ada(2)], &["first"]), &cookie, now), None, "another token");
        assert_eq!(opened(&console(vec![], &["first"]), &cookie, now), None, "no longer an operator");
        assert_eq!(opened(&console(vec![ada(1)], &["new", "first"]), &cookie, now), expected, "a secret was added");
        assert_eq!(opened(&console(vec![ada(1)], &["new"]), &cookie, now), None, "and the old one removed");
        let signature = cookie.rsplit('.').next().expect("a signature");
        let parts: Vec<_> = cookie.rsplitn(4, '.').collect();
        let later = format!("ada.l.{}.{}.{signature}", parts[2], (now + Duration::days(9)).timestamp());
        let another = format!("ada.l.{}.{}.{signature}", Uuid::now_v7(), parts[1]);
        for wrong in [
            "",
            "ada.l",
            "ada.l..",
            "ada.l...",
            later.as_str(),
            &another,
            &format!("{cookie}00"),
            &cookie.replace("ada", "eve"),
        ] {
            assert_eq!(opened(&one, wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn only_forms_of_our_own_pages_are_accepted() {
        let asked = |origin: &str| {
            let request = TestRequest::default().insert_header((header::HOST, "ops.example:8082"));
            let request = if origin.is_empty() { request } else { request.insert_header((header::ORIGIN, origin)) };
            is_own_form(&request.to_http_request()).is_ok()
        };
        assert!(asked("http://ops.example:8082") && asked("https://ops.example:8082"));
        let other_site = TestRequest::default().insert_header((header::HOST, "ops.example:8082"));
        let other_site = other_site.insert_header((header::ORIGIN, "https://ops.example:8082"));
        let other_site = other_site.insert_header(("sec-fetch-site", "cross-site")).to_http_request();
        assert!(is_own_form(&other_site).is_err(), "the same name over plain HTTP is another site");
        for foreign in ["", "null", "http://ops.example", "https://evil.example", "ftp://ops.example:8082"] {
            assert!(!asked(foreign), "{foreign}");
        }
    }
}
