//! Reads a request body, JSON or a form, within limits of size and time.

use std::time::Duration;

use actix_web::{HttpRequest, http::header, web::Payload};
use futures::StreamExt as _;
use orderflow_order::placing::{
    fields::{ErrorCode, FieldError},
    json::{self, DEEPEST, Unreadable},
};
use serde_json::Value;

use super::problem::{Code, Problem};

/// The largest body, in bytes.
pub const LARGEST: usize = 64 * 1024;

/// How long a body may take to arrive.
const TIME: Duration = Duration::from_secs(10);

/// Reads the request's body as JSON.
///
/// # Errors
/// 415 for anything that is not declared as uncompressed JSON, 413 above 64 KiB, 408 after ten seconds, 400 if the body
/// is not JSON, has a duplicate key or is nested too deeply.
pub async fn json(request: &HttpRequest, payload: Payload) -> Result<Value, Problem> {
    let body = whole(request, payload, "application/json").await?;
    json::parse(&body).map_err(unreadable)
}

fn unreadable(why: Unreadable) -> Problem {
    let (code, error, pointer, detail) = match why {
        // Line and column only: the parser's own message may quote the body.
        Unreadable::Malformed { line, column } => {
            return Problem::new(
                Code::MalformedJson,
                format!("The JSON is malformed at line {line}, column {column}."),
            );
        }
        Unreadable::DuplicateKey { pointer } => {
            let detail = format!("The key {pointer} occurs twice. Send it once.");
            (Code::DuplicateKey, ErrorCode::DuplicateKey, pointer, detail)
        }
        Unreadable::TooDeep { pointer } => {
            let detail =
                format!("Lists and objects may be nested at most {DEEPEST} levels deep. Leave out the deeper ones.");
            (Code::TooDeep, ErrorCode::TooDeep, pointer, detail)
        }
    };
    let field = FieldError { pointer, code: error.as_str(), detail: detail.clone().into() };
    Problem::new(code, detail).with_errors(vec![field])
}

/// Reads the request's body as a form and returns its fields in their order.
///
/// # Errors
/// 415 for anything that is not declared as an uncompressed form, 413 above 64 KiB, 408 after ten seconds.
pub async fn form(request: &HttpRequest, payload: Payload) -> Result<impl Iterator<Item = (String, String)>, Problem> {
    let body = whole(request, payload, "application/x-www-form-urlencoded").await?;
    let fields: Vec<_> = url::form_urlencoded::parse(&body).into_owned().collect();
    Ok(fields.into_iter())
}

async fn whole(request: &HttpRequest, payload: Payload, wanted: &'static str) -> Result<Vec<u8>, Problem> {
    media_type(request, wanted)?;
    match tokio::time::timeout(TIME, bytes(request, payload)).await {
        Ok(body) => body,
        Err(_) => Err(Problem::new(Code::RequestTimeout, "The body must arrive within ten seconds.")),
    }
}

fn media_type(request: &HttpRequest, wanted: &'static str) -> Result<(), Problem> {
    let value = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_wanted = value(header::CONTENT_TYPE).is_some_and(|text| essence(text) == wanted);
    let is_plain = value(header::CONTENT_ENCODING).is_none_or(|text| text.eq_ignore_ascii_case("identity"));
    if is_wanted && is_plain {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, format!("Send the body uncompressed, with Content-Type: {wanted}.")))
}

async fn bytes(request: &HttpRequest, mut payload: Payload) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::new(Code::BodyTooLarge, "The body may have at most 65536 bytes.");
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: usize| length > LARGEST) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(declared.unwrap_or(0));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Code::MalformedJson, "The body did not arrive completely."))?;
        if body.len() + chunk.len() > LARGEST {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
