//! Every answer of Stripe's that is no success, and what follows from it. The first rule that fits decides.
//!
//! docs/PROVIDERS.md has this table too, with what the customer sees; a test keeps the two equal, and another one gives
//! the client each of its answers. Codes: <https://docs.stripe.com/error-codes>, types: <https://docs.stripe.com/api/errors>.
//! Texts are never read: they change, and may repeat what a customer has typed.

use reqwest::StatusCode;

use super::api_error::ApiError;

/// What Stripe was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// A new payment intent.
    Create,
    /// An intent as it is.
    Read,
    /// To charge an intent.
    Confirm,
    /// To cancel an intent.
    Cancel,
    /// The refunds of an intent.
    Refunds,
    /// A new refund.
    Refund,
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The payment has failed for good, for the reason that the answer names.
    Declined,
    /// The same, for this reason.
    DeclinedAs(&'static str),
    /// Asked again with another idempotency key: with this one the answer would stay the same.
    NewKey,
    /// What has happened is read; where that decides nothing, the event is retried.
    LookedUp,
    /// The event is retried, and dead-lettered after the last attempt.
    Retried,
    /// The fault is on Stripe's side or in our account, so every call would fare the same: the queues that charge and
    /// refund are paused until a call succeeds, and an alert says so. No attempt is used.
    Paused,
    /// The event is dead-lettered at once: the same request would fail for ever.
    DeadLetter,
}

/// Which statuses a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// These.
    Of(&'static [u16]),
    /// 500 to 599.
    Server,
    /// 400 to 499.
    Client,
    /// Any.
    Any,
}

/// Which errors a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// Any, and an answer that has none.
    Any,
    /// Any that can be read.
    Readable,
    /// Of this type.
    Type(&'static str),
    /// With one of these codes; one that ends with an asterisk stands for all that begin so.
    Codes(&'static [&'static str]),
    /// With this code, about this parameter.
    CodeOf(&'static str, &'static str),
    /// Of type `invalid_request_error`, without a code.
    WithoutCode,
    /// About one of these parameters, whatever the code.
    Params(&'static [&'static str]),
    /// Stored under the request's idempotency key (`Idempotent-Replayed: true`).
    Replayed,
}

/// A line of the table.
#[derive(Debug)]
pub(super) struct Rule {
    /// Of which calls; none: of all.
    pub calls: &'static [Call],
    pub status: Status,
    pub error: Error,
    pub verdict: Verdict,
}

/// The account itself cannot charge: somebody has to change something at Stripe or in our settings.
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

/// The card, or what else the customer pays with, cannot be charged. Stripe says so with 402 mostly, and with 400 where it
/// did not come as far as the bank.
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

/// The reason of a decline where the payment method does not exist.
const UNKNOWN_METHOD: &str = "unknown_payment_method";

/// The reason of a decline where the payment method exists and cannot be used, such as one that was used before.
const UNUSABLE_METHOD: &str = "payment_method_unusable";

/// The reason of a decline where Stripe cannot charge the amount. The front end refuses such orders, but only Stripe knows
/// the minimum of an account that is kept in another currency.
pub(super) const AMOUNT: &str = "amount_not_chargeable";

const CHARGING: &[Call] = &[Call::Create, Call::Confirm];
const CONFIRM: &[Call] = &[Call::Confirm];
const REFUND: &[Call] = &[Call::Refund];

pub(super) const RULES: &[Rule] = &[
    // About Stripe, or about us.
    Rule { calls: &[], status: Status::Server, error: Error::Replayed, verdict: Verdict::NewKey },
    Rule { calls: &[], status: Status::Server, error: Error::Any, verdict: Verdict::Paused },
    Rule { calls: &[], status: Status::Of(&[401, 403]), error: Error::Any, verdict: Verdict::Paused },
    Rule { calls: &[], status: Status::Client, error: Error::Codes(ACCOUNT), verdict: Verdict::Paused },
    // Of a confirmation this would be about the customer's payment method, and nobody's order may stop another's.
    Rule {
        calls: &[Call::Create],
        status: Status::Client,
        error: Error::Codes(&["payment_method_unactivated", "payment_method_configuration_failures"]),
        verdict: Verdict::Paused,
    },
    // Another request for the same intent is being carried out.
    Rule { calls: &[], status: Status::Of(&[429]), error: Error::Codes(&["lock_timeout"]), verdict: Verdict::Retried },
    Rule { calls: &[], status: Status::Of(&[429]), error: Error::Any, verdict: Verdict::Paused },
    Rule { calls: &[], status: Status::Client, error: Error::Codes(&["rate_limit"]), verdict: Verdict::Paused },
    // About the idempotency key. Only what creates something has one.
    Rule { calls: &[], status: Status::Client, error: Error::Type("idempotency_error"), verdict: Verdict::NewKey },
    Rule { calls: &[Call::Create], status: Status::Of(&[409]), error: Error::Readable, verdict: Verdict::NewKey },
    Rule { calls: REFUND, status: Status::Of(&[409]), error: Error::Readable, verdict: Verdict::LookedUp },
    // About the card: the bank's word first.
    Rule { calls: CONFIRM, status: Status::Of(&[402]), error: Error::Readable, verdict: Verdict::Declined },
    Rule { calls: CONFIRM, status: Status::Client, error: Error::Type("card_error"), verdict: Verdict::Declined },
    Rule {
        calls: CONFIRM,
        status: Status::Client,
        error: Error::CodeOf("resource_missing", "payment_method"),
        verdict: Verdict::DeclinedAs(UNKNOWN_METHOD),
    },
    // A test card with a live key, or the other way round.
    Rule {
        calls: CONFIRM,
        status: Status::Client,
        error: Error::Codes(&["livemode_mismatch"]),
        verdict: Verdict::DeclinedAs(UNKNOWN_METHOD),
    },
    // Somebody else has confirmed or cancelled the intent since we read it.
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
    // All that a confirmation says is the payment method, so what is wrong with it without a code is that: "was previously
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
    // About a refund.
    Rule {
        calls: REFUND,
        status: Status::Client,
        error: Error::Codes(&["charge_already_refunded"]),
        verdict: Verdict::LookedUp,
    },
    // Until the shop has sold more, or somebody has paid in.
    Rule {
        calls: REFUND,
        status: Status::Client,
        error: Error::Codes(&["balance_insufficient", "insufficient_funds"]),
        verdict: Verdict::Retried,
    },
    // What is left. A request that is wrong is wrong for ever. What is missing may be with another key, and what is in
    // conflict may not be so for long.
    Rule { calls: &[], status: Status::Of(&[400]), error: Error::Readable, verdict: Verdict::DeadLetter },
    Rule { calls: &[], status: Status::Any, error: Error::Any, verdict: Verdict::Retried },
];

/// What follows from an answer without success; `error` is its error object where it has one.
pub(super) fn verdict(call: Call, status: StatusCode, replayed: bool, error: Option<&ApiError>) -> Verdict {
    let fitting = RULES.iter().find(|rule| rule.fits(call, status, replayed, error));
    // The last rule fits everything.
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

/// Whether a list has this word, or an asterisk behind its beginning.
fn listed(list: &[&str], word: &str) -> bool {
    list.iter().any(|one| one.strip_suffix('*').map_or(*one == word, |beginning| word.starts_with(beginning)))
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
