//! Errors as clients see them: RFC 9457 problem documents.
//!
//! The table below is the only place that maps a code to its HTTP status and title. Causes go to the log. Details are
//! texts of our own without personal data.

use std::{borrow::Cow, fmt};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};
use orderflow_order::placing::{
    NotAdmitted,
    fields::{ErrorCode, FieldError, MOST_ERRORS},
};
use orderflow_service::{store::StoreError, telemetry};
use serde::Serialize;
use uuid::Uuid;

/// The media type of a problem.
const CONTENT_TYPE: &str = "application/problem+json";

/// Seconds after which a retry is worthwhile when the database is unavailable: about what a restart takes.
const DATABASE_RETRY_SECONDS: u64 = 2;

/// Declares [`Code`] with each code's name, status and title side by side, so that no list can miss one. A code's
/// documentation begins with its title.
macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident => $code:literal, $status:ident, $title:literal;)+) => {
        /// The type of a problem. Public: the last part of a problem's `type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $(#[doc = concat!($title, ".\n")] $(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code, for the tests of the public description.
            #[cfg(test)]
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the name in a problem's `type`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Returns the HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// Returns the title, which is the same in every problem with this code.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

problems! {
    MalformedJson => "malformed-json", BAD_REQUEST, "The body is not JSON";
    DuplicateKey => "duplicate-key", BAD_REQUEST, "The body has a duplicate key";
    TooDeep => "too-deep", BAD_REQUEST, "The body is nested too deeply";
    InvalidParameter => "invalid-parameter", BAD_REQUEST, "A parameter is not valid";
    /// Keys are 16 to 255 printable ASCII characters.
    IdempotencyKeyInvalid => "idempotency-key-invalid", BAD_REQUEST, "The Idempotency-Key is missing or not valid";
    NotFound => "not-found", NOT_FOUND, "There is nothing at this path";
    /// Or the token does not open it: the answer does not reveal which.
    OrderNotFound => "order-not-found", NOT_FOUND, "There is no such order";
    MethodNotAllowed => "method-not-allowed", METHOD_NOT_ALLOWED, "The path does not support this method";
    UpgradeRequired => "upgrade-required", UPGRADE_REQUIRED, "The path accepts WebSocket connections only";
    RequestTimeout => "request-timeout", REQUEST_TIMEOUT, "The request took too long to arrive";
    RequestInProgress => "request-in-progress", CONFLICT, "A request with this Idempotency-Key is in progress";
    /// It has shipped or failed.
    OrderNotCancellable => "order-not-cancellable", CONFLICT, "The order can no longer be cancelled";
    /// Larger than 64 KiB.
    BodyTooLarge => "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// It is not declared as the expected one, or is compressed.
    UnsupportedMediaType => "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body's media type is not supported";
    /// `errors` names each error.
    InvalidOrder => "invalid-order", UNPROCESSABLE_ENTITY, "The order is not valid";
    /// It differs from the one that the customer was shown.
    TotalChanged => "total-changed", UNPROCESSABLE_ENTITY, "The total has changed";
    IdempotencyKeyReused => "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key belongs to another request";
    TooManyRequests => "too-many-requests", TOO_MANY_REQUESTS, "Too many orders from this address";
    OperatorsOff => "operators-off", FORBIDDEN, "No operators are configured";
    Unauthorized => "unauthorized", UNAUTHORIZED, "An operator token is required";
    TooManyAttempts => "too-many-attempts", TOO_MANY_REQUESTS, "Too many invalid tokens";
    Forbidden => "forbidden", FORBIDDEN, "This operator has read-only access";
    ForeignOrigin => "foreign-origin", FORBIDDEN, "The request did not come from our own pages";
    ProductNotFound => "product-not-found", NOT_FOUND, "There is no such product";
    ReplayNotFound => "replay-not-found", NOT_FOUND, "There is no such replay";
    DeadLettersNotFound => "dead-letters-not-found", NOT_FOUND, "No dead letter matches";
    ReplayInProgress => "replay-in-progress", CONFLICT, "Another replay of this queue is running";
    StockChanged => "stock-changed", CONFLICT, "The stock has changed in the meantime";
    InvalidRequest => "invalid-request", UNPROCESSABLE_ENTITY, "The request is not valid";
    SettingMissing => "setting-missing", SERVICE_UNAVAILABLE, "A required setting is missing";
    /// It cannot be reached, or is not set up as it should be.
    BrokerUnavailable => "broker-unavailable", SERVICE_UNAVAILABLE, "RabbitMQ cannot be used";
    SearchTooSlow => "search-too-slow", SERVICE_UNAVAILABLE, "The search took too long";
    /// A bug, or a database that differs from what the migrations create.
    Internal => "internal-error", INTERNAL_SERVER_ERROR, "Something went wrong here";
    /// Earlier orders are not processed fast enough.
    Overloaded => "overloaded", SERVICE_UNAVAILABLE, "No orders are accepted at the moment";
    DatabaseUnavailable => "database-unavailable", SERVICE_UNAVAILABLE, "The database cannot be reached";
    /// It is starting or stopping.
    NotReady => "not-ready", SERVICE_UNAVAILABLE, "This process is not accepting requests";
}

#[cfg(test)]
impl Code {
    /// Returns whether only operators get this problem: `/admin/openapi.json` describes it, `/openapi.json` does not.
    #[must_use]
    pub const fn is_for_operators(self) -> bool {
        matches!(
            self,
            Self::OperatorsOff
                | Self::Unauthorized
                | Self::TooManyAttempts
                | Self::Forbidden
                | Self::ForeignOrigin
                | Self::ProductNotFound
                | Self::ReplayNotFound
                | Self::DeadLettersNotFound
                | Self::ReplayInProgress
                | Self::StockChanged
                | Self::InvalidRequest
                | Self::SettingMissing
                | Self::BrokerUnavailable
                | Self::SearchTooSlow
        )
    }
}

/// A problem on its way to the client. The middleware of [`super::request_id`] turns it into a document.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    /// Boxed to keep a problem small: most results contain one.
    total: Option<Box<(i64, String)>>,
    retry_after: Option<u64>,
    allow: Option<Cow<'static, str>>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: Uuid,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'a str>,
}

impl Problem {
    /// Creates a problem. The detail says what to do and contains no personal data.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), total: None, retry_after: None, allow: None }
    }

    /// Returns the problem's type.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// Returns the explanation that accompanies the title.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the errors of each field.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Returns after how many seconds a retry is worthwhile.
    #[must_use]
    pub const fn retry_seconds(&self) -> Option<u64> {
        self.retry_after
    }

    /// Returns the problem of an order with these errors.
    #[must_use]
    pub fn invalid_order(errors: Vec<FieldError>) -> Self {
        let detail = match errors.len() {
            1 => "One field must be corrected.".to_owned(),
            MOST_ERRORS => format!("{MOST_ERRORS} fields that must be corrected are listed; there may be more."),
            count => format!("{count} fields must be corrected."),
        };
        Self::new(Code::InvalidOrder, detail).with_errors(errors)
    }

    /// Adds the errors of each field.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// Returns the problem of an order whose `total`, in minor units of this currency, differs from the one shown.
    #[must_use]
    pub fn total_changed(total: i64, currency: &str) -> Self {
        let error = FieldError {
            pointer: "#/expected_total".to_owned(),
            code: ErrorCode::TotalChanged.as_str(),
            detail: format!("The order now costs {total}.").into(),
        };
        let detail = "Show the new total, and send it as expected_total once the customer agrees.";
        let total = Some(Box::new((total, currency.to_owned())));
        Self { errors: vec![error], total, ..Self::new(Code::TotalChanged, detail) }
    }

    /// Returns the answer to a missing, invalid or foreign token and to an unknown order: always the same.
    #[must_use]
    pub fn order_not_found() -> Self {
        Self::new(Code::OrderNotFound, "Check the order's link: it may be incomplete or no longer valid.")
    }

    /// Returns the answer to a request that stored nothing because the database is unavailable.
    #[must_use]
    pub fn database_unavailable() -> Self {
        Self::new(Code::DatabaseUnavailable, "Nothing was stored. Try again soon.").retry_after(DATABASE_RETRY_SECONDS)
    }

    /// Returns the answer to a plain request at a WebSocket path.
    #[must_use]
    pub fn upgrade_required() -> Self {
        Self::new(Code::UpgradeRequired, "Connect with a WebSocket client, version 13, and the order's token.")
    }

    /// Sets after how many seconds a retry is worthwhile.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Sets which methods the path supports.
    #[must_use]
    pub fn allow(self, method: impl Into<Cow<'static, str>>) -> Self {
        Self { allow: Some(method.into()), ..self }
    }

    /// Returns the whole answer.
    #[must_use]
    pub fn document(&self, request_id: Uuid) -> HttpResponse {
        let status = self.code.status();
        let mut response = HttpResponse::build(status);
        response.insert_header((header::CONTENT_TYPE, CONTENT_TYPE));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        let mut response = response.json(Document {
            r#type: format!("/problems/{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            detail: &self.detail,
            request_id,
            errors: &self.errors,
            total: self.total.as_deref().map(|(total, _)| *total),
            currency: self.total.as_deref().map(|(_, currency)| currency.as_str()),
        });
        self.put_headers(response.headers_mut());
        response
    }

    /// Adds the headers that belong to the problem, whether its body is a document or a page.
    pub fn put_headers(&self, headers: &mut HeaderMap) {
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code == Code::UpgradeRequired {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if let Some(Ok(methods)) = self.allow.as_deref().map(HeaderValue::from_str) {
            headers.insert(header::ALLOW, methods);
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
}

/// Logs the cause, once; the client learns only whether to try again.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(error = telemetry::chain(&error), "a request failed because the database is unavailable");
            return Self::new(Code::DatabaseUnavailable, "Try again soon.").retry_after(DATABASE_RETRY_SECONDS);
        }
        tracing::error!(error = telemetry::chain(&error), "a request failed in the database");
        Self::new(Code::Internal, "The request failed and the cause is logged under this request_id.")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// Returns only the status: the document needs the request's id, which the middleware adds.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.code.status())
    }
}

impl From<NotAdmitted> for Problem {
    fn from(refusal: NotAdmitted) -> Self {
        match refusal {
            NotAdmitted::Overloaded { retry_seconds } => {
                let detail = "Too many orders are waiting to be processed. Nothing was stored. Try again later.";
                Self::new(Code::Overloaded, detail).retry_after(retry_seconds)
            }
            NotAdmitted::DatabaseUnavailable => Self::database_unavailable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::body::MessageBody as _;

    use super::*;

    fn body(response: HttpResponse) -> serde_json::Value {
        let bytes = response.into_body().try_into_bytes().expect("a body in memory");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn a_problem_has_the_form_of_the_contract() {
        let error = FieldError {
            pointer: "#/items/0/quantity".to_owned(),
            code: "out_of_range",
            detail: "Must be 1 to 99; got 0.".into(),
        };
        let response = Problem::invalid_order(vec![error]).document(Uuid::nil());
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(response.headers().get("content-type").expect("a type"), "application/problem+json");
        assert_eq!(
            body(response),
            serde_json::json!({
                "type": "/problems/invalid-order", "title": "The order is not valid", "status": 422,
                "detail": "One field must be corrected.", "request_id": Uuid::nil(),
                "errors": [{"pointer": "#/items/0/quantity", "code": "out_of_range", "detail": "Must be 1 to 99; got 0."}],
            })
        );
    }

    #[test]
    fn without_field_errors_there_is_no_list_of_them() {
        let response = Problem::database_unavailable().document(Uuid::nil());
        assert_eq!(response.headers().get("retry-after").expect("a time"), "2");
        assert!(body(response).get("errors").is_none());
    }

    #[test]
    fn every_code_is_an_error_with_a_name_of_its_own() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }
}
