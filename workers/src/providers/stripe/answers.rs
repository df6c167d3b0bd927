//! The table of Stripe's error responses and what follows from each. The first matching rule decides.
//!
//! docs/PROVIDERS.md contains the same table, with what the customer sees. A test keeps the two equal, and another
//! sends each response to the client. Codes: <https://docs.stripe.com/error-codes>, types:
//! <https://docs.stripe.com/api/errors>. Messages are never read: they change, and may repeat a customer's input.

use reqwest::StatusCode;

use super::api_error::ApiError;

/// A kind of request to Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Creates a payment intent.
    Create,
    /// Reads an intent.
    Read,
    /// Charges an intent.
    Confirm,
    /// Cancels an intent.
    Cancel,
    /// Lists the refunds of an intent.
    Refunds,
    /// Creates a refund.
    Refund,
}

/// What follows from an error response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The payment has failed permanently, for the reason in the response.
    Declined,
    /// The payment has failed permanently, for this reason.
    DeclinedAs(&'static str),
    /// The request is repeated with another idempotency key: with the same key, the response would stay the same.
    NewKey,
    /// The state at Stripe is read. If it decides nothing, the event is retried.
    LookedUp,
    /// The event is retried, and dead-lettered once its retries are exhausted.
    Retried,
    /// The error is Stripe's or our account's, so every call would fail: the queues that charge and refund are paused
    /// until a call succeeds, and an alert fires. No attempt is used.
    Paused,
    /// The event is dead-lettered immediately: the same request would always fail.
    DeadLetter,
}

/// The HTTP statuses that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// These statuses.
    Of(&'static [u16]),
    /// 500 to 599.
    Server,
    /// 400 to 499.
    Client,
    /// Any status.
    Any,
}

/// The errors that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// Any error, or a response without one.
    Any,
    /// Any error that can be parsed.
    Readable,
    /// An error of this type.
    Type(&'static str),
    /// An error with one of these codes. A code that ends with an asterisk matches all that begin with the rest.
    Codes(&'static [&'static str]),
    /// An error with this code, for this parameter.
    CodeOf(&'static str, &'static str),
    /// An error of type `invalid_request_error` without a code.
    WithoutCode,
    /// An error for one of these parameters, whatever the code. An asterisk works as in `Codes`.
    Params(&'static [&'static str]),
    /// A response stored under the request's idempotency key (`Idempotent-Replayed: true`).
    Replayed,
}

/// A line of the table.
#[derive(Debug)]
pub(super) struct Rule {
    /// The calls that the rule matches; if empty, all.
    pub calls: &'static [Call],
    pub status: Status,
    pub error: Error,
    pub verdict: Verdict,
}

/// The account itself cannot charge: an operator has to change something at Stripe or in our settings.
const ACCOUNT: &[&str] = &[
    "account_country_invalid_address",
    "account_error_country_change_requires_additional_steps",
    "account_invalid",
    "api_key_expired",
    "not_allowed_on_standard_account",
    "platform_account_required",
    "platform_api_key_expired",
    "progressive_onboarding_limit_exceeded",
    "secret_key_required",
    "testmode_charges_only",
    "tls_version_unsupported",
];

/// The card or other payment method cannot be charged. Stripe usually returns 402, and 400 if the request did not reach
/// the bank.
const METHOD: &[&str] = &[
    "account_closed",
    "authentication_required",
    "bank_account_*",
    "billing_invalid_mandate",
    "card_*",
    "charge_exceeds_source_limit",
    "charge_exceeds_transaction_limit",
    "debit_not_authorized",
    "expired_card",
    "incorrect_*",
    "insufficient_funds",
    "invalid_card_type",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_number",
    "invalid_source_usage",
    "no_account",
    "payment_intent_action_required",
    "payment_intent_authentication_failure",
    "payment_intent_incompatible_payment_method",
    "payment_intent_mandate_invalid",
    "payment_intent_payment_attempt_expired",
    "payment_intent_payment_attempt_failed",
    "payment_method_*",
    "postal_code_invalid",
    "processing_error",
    "refer_to_customer",
    "token_already_used",
    "token_card_network_invalid",
    "token_in_use",
];

/// The reason for a decline if the payment method does not exist.
const UNKNOWN_METHOD: &str = "unknown_payment_method";

/// The reason for a decline if the payment method exists but cannot be used, such as one that was used before.
const UNUSABLE_METHOD: &str = "payment_method_unusable";

/// The reason for a decline if Stripe cannot charge the amount. The front end refuses such orders, but only Stripe
/// knows the minimum of an account in another currency.
pub(super) const AMOUNT: &str = "amount_not_chargeable";

const CHARGING: &[Call] = &[Call::Create, Call::Confirm];
const CONFIRM: &[Call] = &[Call::Confirm];
const REFUND: &[Call] = &[Call::Refund];

pub(super) const RULES: &[Rule] = &[
    // Errors of Stripe, or of our account.
    Rule { calls: &[], status: Status::Server, error: Error::Replayed, verdict: Verdict::NewKey },
    Rule { calls: &[], status: Status::Server, error: Error::Any, verdict: Verdict::Paused },
    Rule { calls: &[], status: Status::Of(&[401, 403]), error: Error::Any, verdict: Verdict::Paused },
    Rule { calls: &[], status: Status::Client, error: Error::Codes(ACCOUNT), verdict: Verdict::Paused },
    // For a confirmation these codes concern the customer's payment method, and no order may stop others.
    Rule {
        calls: &[Call::Create],
        status: Status::Client,
        error: Error::Codes(&["payment_method_unactivated", "payment_method_configuration_failures"]),
        verdict: Verdict::Paused,
    },
    // Another request for the same intent is in progress.
    Rule { calls: &[], status: Status::Of(&[429]), error: Error::Codes(&["lock_timeout"]), verdict: Verdict::Retried },
    Rule { calls: &[], status: Status::Of(&[429]), error: Error::Any, verdict: Verdict::Paused },
    Rule { calls: &[], status: Status::Client, error: Error::Codes(&["rate_limit"]), verdict: Verdict::Paused },
    // Errors of the idempotency key. Only requests that create something have one.
    Rule { calls: &[], status: Status::Client, error: Error::Type("idempotency_error"), verdict: Verdict::NewKey },
    Rule { calls: &[Call::Create], status: Status::Of(&[409]), error: Error::Readable, verdict: Verdict::NewKey },
    Rule { calls: REFUND, status: Status::Of(&[409]), error: Error::Readable, verdict: Verdict::LookedUp },
    // Errors of the card: the bank's answer first.
    Rule { calls: CONFIRM, status: Status::Of(&[402]), error: Error::Readable, verdict: Verdict::Declined },
    Rule { calls: CONFIRM, status: Status::Client, error: Error::Type("card_error"), verdict: Verdict::Declined },
    Rule {
        calls: CONFIRM,
        status: Status::Client,
        error: Error::CodeOf("resource_missing", "payment_method"),
        verdict: Verdict::DeclinedAs(UNKNOWN_METHOD),
    },
    // A test card with a live key, or vice versa.
    Rule {
        calls: CONFIRM,
        status: Status::Client,
        error: Error::Codes(&["livemode_mismatch"]),
        verdict: Verdict::DeclinedAs(UNKNOWN_METHOD),
    },
    // Another process has confirmed or cancelled the intent since we read it.
    Rule {
        calls: &[Call::Confirm, Call::Cancel],
        status: Status::Client,
        error: Error::Codes(&["payment_intent_unexpected_state", "intent_invalid_state"]),
        verdict: Verdict::LookedUp,
    },
    Rule { calls: CONFIRM, status: Status::Of(&[400]), error: Error::Codes(METHOD), verdict: Verdict::Declined },
    Rule {
        calls: CHARGING,
        status: Status::Of(&[400]),
        error: Error::Codes(&["amount_too_small", "amount_too_large", "invalid_charge_amount"]),
        verdict: Verdict::DeclinedAs(AMOUNT),
    },
    Rule {
        calls: CHARGING,
        status: Status::Of(&[400]),
        error: Error::Params(&["amount", "currency"]),
        verdict: Verdict::DeclinedAs(AMOUNT),
    },
    // A confirmation's only parameter is the payment method, so an error without a code concerns that: "was previously
    // used", "was detached", "does not belong to this customer", "is not of an allowed type".
    Rule {
        calls: CONFIRM,
        status: Status::Of(&[400]),
        error: Error::Params(&["payment_method", "payment_method_*"]),
        verdict: Verdict::DeclinedAs(UNUSABLE_METHOD),
    },
    Rule {
        calls: CONFIRM,
        status: Status::Of(&[400]),
        error: Error::WithoutCode,
        verdict: Verdict::DeclinedAs(UNUSABLE_METHOD),
    },
    Rule { calls: &[Call::Cancel], status: Status::Of(&[400]), error: Error::Readable, verdict: Verdict::LookedUp },
    // Errors of a refund.
    Rule {
        calls: REFUND,
        status: Status::Client,
        error: Error::Codes(&["charge_already_refunded"]),
        verdict: Verdict::LookedUp,
    },
    // Succeeds once the shop has sold more, or its owner has paid in.
    Rule {
        calls: REFUND,
        status: Status::Client,
        error: Error::Codes(&["balance_insufficient", "insufficient_funds"]),
        verdict: Verdict::Retried,
    },
    // Everything else. An invalid request stays invalid. A missing object may exist for another API key, and a conflict
    // may end soon.
    Rule { calls: &[], status: Status::Of(&[400]), error: Error::Readable, verdict: Verdict::DeadLetter },
    Rule { calls: &[], status: Status::Any, error: Error::Any, verdict: Verdict::Retried },
];

/// Returns what follows from an error response. `error` is its error object, if it has one.
pub(super) fn verdict(call: Call, status: StatusCode, replayed: bool, error: Option<&ApiError>) -> Verdict {
    let fitting = RULES.iter().find(|rule| rule.fits(call, status, replayed, error));
    // The last rule matches everything.
    fitting.map_or(Verdict::Retried, |rule| rule.verdict)
}

impl Rule {
    fn fits(&self, call: Call, status: StatusCode, replayed: bool, error: Option<&ApiError>) -> bool {
        (self.calls.is_empty() || self.calls.contains(&call))
            && self.status.fits(status)
            && self.error.fits(replayed, error)
    }
}

impl Status {
    fn fits(self, status: StatusCode) -> bool {
        match self {
            Self::Of(these) => these.contains(&status.as_u16()),
            Self::Server => status.is_server_error(),
            Self::Client => status.is_client_error(),
            Self::Any => true,
        }
    }
}

impl Error {
    fn fits(self, replayed: bool, error: Option<&ApiError>) -> bool {
        match (self, error) {
            (Self::Any, _) => true,
            (Self::Replayed, _) => replayed,
            (Self::Readable, Some(_)) => true,
            (Self::Type(kind), Some(error)) => error.kind == kind,
            (Self::Codes(codes), Some(error)) => error.code().is_some_and(|code| listed(codes, code)),
            (Self::CodeOf(code, param), Some(error)) => error.code() == Some(code) && error.param() == Some(param),
            (Self::WithoutCode, Some(error)) => error.kind == "invalid_request_error" && error.code().is_none(),
            (Self::Params(params), Some(error)) => error.param().is_some_and(|param| listed(params, param)),
            (_, None) => false,
        }
    }
}

/// Returns whether a list contains this word, or a prefix of it followed by an asterisk.
fn listed(list: &[&str], word: &str) -> bool {
    list.iter().any(|one| one.strip_suffix('*').map_or(*one == word, |beginning| word.starts_with(beginning)))
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
