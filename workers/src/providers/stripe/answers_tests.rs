//! Tests that the table in docs/PROVIDERS.md equals the code's, and that every line can decide.

use std::{fs, path::Path};

use super::*;

const BEGIN: &str = "<!-- Stripe's refusals: written by UPDATE_GOLDEN=1 cargo test -p orderflow-worker answers -->\n";
const END: &str = "<!-- end of Stripe's refusals -->";

impl Call {
    const ALL: [Self; 6] = [Self::Create, Self::Read, Self::Confirm, Self::Cancel, Self::Refunds, Self::Refund];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
            Self::Refunds => "refunds",
            Self::Refund => "refund",
        }
    }
}

impl Status {
    fn shown(self) -> String {
        match self {
            Self::Of(these) => these.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Self::Server => "5xx".to_owned(),
            Self::Client => "4xx".to_owned(),
            Self::Any => "any".to_owned(),
        }
    }

    fn example(self) -> u16 {
        match self {
            Self::Of(these) => these[0],
            Self::Server => 500,
            Self::Client => 400,
            Self::Any => 404,
        }
    }
}

impl Error {
    fn shown(self) -> String {
        let list = |words: &[&str]| words.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Any => "any, or none".to_owned(),
            Self::Readable => "any".to_owned(),
            Self::Type(kind) => format!("type `{kind}`"),
            Self::Codes(codes) => format!("code {}", list(codes)),
            Self::CodeOf(code, param) => format!("code `{code}`, parameter `{param}`"),
            Self::WithoutCode => "type `invalid_request_error`, no code".to_owned(),
            Self::Params(params) => format!("parameter {}", list(params)),
            Self::Replayed => "stored under the key (`Idempotent-Replayed: true`)".to_owned(),
        }
    }

    /// Returns errors that should match.
    fn examples(self) -> Vec<ApiError> {
        let error = |kind: &str, code: Option<&str>, param: Option<&str>| {
            let body = serde_json::json!({ "type": kind, "code": code, "param": param });
            serde_json::from_value::<ApiError>(body).expect("an error")
        };
        let invalid = "invalid_request_error";
        let word = |one: &str| one.replace('*', "of_next_year");
        match self {
            Self::Any | Self::Readable | Self::Replayed => vec![error("of_next_year", Some("of_next_year"), None)],
            Self::Type(kind) => vec![error(kind, Some("of_next_year"), None), error(kind, None, None)],
            Self::Codes(codes) => codes.iter().map(|code| error(invalid, Some(&word(code)), None)).collect(),
            Self::CodeOf(code, param) => vec![error(invalid, Some(code), Some(param))],
            Self::WithoutCode => vec![error(invalid, None, None), error(invalid, None, Some("of_next_year"))],
            Self::Params(params) => {
                params.iter().map(|param| error(invalid, Some("of_next_year"), Some(&word(param)))).collect()
            }
        }
    }
}

impl Rule {
    fn line(&self) -> String {
        let calls = match self.calls {
            [] => "all".to_owned(),
            calls => calls.iter().map(|call| call.name()).collect::<Vec<_>>().join(", "),
        };
        let verdict = match self.verdict {
            Verdict::Declined => "**declined**, the code is the reason".to_owned(),
            Verdict::DeclinedAs(reason) => format!("**declined** as `{reason}`"),
            Verdict::NewKey => "**new key**".to_owned(),
            Verdict::LookedUp => "**looked up**".to_owned(),
            Verdict::Retried => "**retried**".to_owned(),
            Verdict::Paused => "**paused**".to_owned(),
            Verdict::DeadLetter => "**dead letter**".to_owned(),
        };
        format!("| {calls} | {} | {} | {verdict} |\n", self.status.shown(), self.error.shown())
    }
}

#[test]
fn document_has_the_table_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PROVIDERS.md");
    let document = fs::read_to_string(&path).expect("it is there");
    let head = "\n| call | HTTP status | error | what follows |\n|---|---|---|---|\n";
    let table: String =
        [head.to_owned()].into_iter().chain(RULES.iter().map(Rule::line)).chain(["\n".to_owned()]).collect();
    let (before, rest) = document.split_once(BEGIN).expect("the table begins");
    let (written, after) = rest.split_once(END).expect("the table ends");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("it can be written");
    } else {
        assert_eq!(
            written, table,
            "docs/PROVIDERS.md is out of date: UPDATE_GOLDEN=1 cargo test -p orderflow-worker answers"
        );
    }
}

/// A line after a more general one would be documented but never decide.
#[test]
fn every_line_decides_what_it_names() {
    for (index, rule) in RULES.iter().enumerate() {
        let calls = if rule.calls.is_empty() { Call::ALL.to_vec() } else { rule.calls.to_vec() };
        let replayed = rule.error == Error::Replayed;
        let status = StatusCode::from_u16(rule.status.example()).expect("a status");
        let mut decided = 0;
        for (call, error) in
            calls.iter().flat_map(|call| rule.error.examples().into_iter().map(move |one| (*call, one)))
        {
            let first = RULES.iter().position(|one| one.fits(call, status, replayed, Some(&error)));
            // A rule for all calls may be overridden by one for some of them.
            if !rule.calls.is_empty() || rule.error != Error::Readable {
                assert_eq!(first, Some(index), "{} is hidden from {call:?} {error:?}", rule.line());
            }
            decided += usize::from(first == Some(index));
        }
        assert!(decided > 0, "{} never decides", rule.line());
    }
}

fn of(call: Call, status: u16, body: &str) -> Verdict {
    let error: Option<ApiError> = serde_json::from_str(body).ok();
    verdict(call, StatusCode::from_u16(status).expect("a status"), false, error.as_ref())
}

/// Each is a response that shops have received. If the card is at fault, the customer can act and learns of it
/// immediately. If we are at fault, no order may be declined.
#[test]
fn card_errors_are_distinguished_from_our_own() {
    let declined = |reason| Verdict::DeclinedAs(reason);
    for (call, status, body, expected) in [
        (Call::Confirm, 402, r#"{"type": "card_error", "code": "card_declined"}"#, Verdict::Declined),
        (Call::Confirm, 402, "{}", Verdict::Declined),
        // "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment …"
        (Call::Confirm, 400, r#"{"type": "invalid_request_error"}"#, declined("payment_method_unusable")),
        (
            Call::Confirm,
            400,
            r#"{"type": "invalid_request_error", "code": "resource_missing", "param": "payment_method"}"#,
            declined("unknown_payment_method"),
        ),
        (
            Call::Confirm,
            404,
            r#"{"type": "invalid_request_error", "code": "resource_missing", "param": "payment_method"}"#,
            declined("unknown_payment_method"),
        ),
        // The intent does not exist, as with another account's API key.
        (
            Call::Confirm,
            404,
            r#"{"type": "invalid_request_error", "code": "resource_missing", "param": "intent"}"#,
            Verdict::Retried,
        ),
        (
            Call::Create,
            400,
            r#"{"type": "invalid_request_error", "code": "amount_too_small", "param": "amount"}"#,
            declined("amount_not_chargeable"),
        ),
        (
            Call::Create,
            400,
            r#"{"type": "invalid_request_error", "param": "currency"}"#,
            declined("amount_not_chargeable"),
        ),
        (Call::Create, 400, r#"{"type": "invalid_request_error"}"#, Verdict::DeadLetter),
        (Call::Confirm, 400, r#"{"type": "invalid_request_error", "code": "parameter_unknown"}"#, Verdict::DeadLetter),
        (Call::Confirm, 400, r#"{"type": "invalid_request_error", "code": "testmode_charges_only"}"#, Verdict::Paused),
        (Call::Create, 403, r#"{"type": "invalid_request_error", "code": "account_invalid"}"#, Verdict::Paused),
        (Call::Confirm, 400, r#"{"type": "idempotency_error"}"#, Verdict::NewKey),
        (Call::Confirm, 409, r#"{"type": "invalid_request_error"}"#, Verdict::Retried),
        (Call::Refund, 400, r#"{"type": "invalid_request_error", "code": "charge_disputed"}"#, Verdict::DeadLetter),
        (Call::Confirm, 402, "no JSON", Verdict::Retried),
        (Call::Confirm, 302, "", Verdict::Retried),
    ] {
        assert_eq!(of(call, status, body), expected, "{call:?} {status} {body}");
    }
}
