//! Authentication of operators by the tokens in `OPERATOR_TOKENS`.

use std::time::Instant;

use actix_web::{HttpRequest, http::header::AUTHORIZATION};
use hmac::digest::CtOutput;
use orderflow_service::{
    config::{OperatorToken, Role},
    metrics,
};
use sha2::{Digest as _, Sha256};

use super::Console;
use crate::{
    ops::Principal,
    web::{
        problem::{Code, Problem},
        request_id,
    },
};

/// Names the setting that is needed.
const OFF: &str = "Set OPERATOR_TOKENS to name:role:sha256hex for each operator, and restart `orderflow serve`.";

/// The operator who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name in `OPERATOR_TOKENS`.
    pub name: String,
    /// The role in `OPERATOR_TOKENS`.
    pub role: Role,
}

impl Operator {
    /// Returns the principal to record for this request's actions.
    #[must_use]
    pub fn actor(&self, request: &HttpRequest) -> Principal {
        Principal::operator(&self.name, self.role, request_id::of(request))
    }

    /// Returns the operator if they have at least this role.
    ///
    /// # Errors
    /// 403 for a lower role.
    pub fn needs(self, role: Role) -> Result<Self, Problem> {
        if self.role >= role {
            return Ok(self);
        }
        Err(Problem::new(Code::Forbidden, "This requires an operator with the role operate."))
    }
}

/// Returns the operator whose token the request carries, if they have at least this role.
///
/// # Errors
/// 403 if no operators are configured, 401 without an operator's token, 429 after too many invalid tokens, 403 if the
/// role is not sufficient.
pub fn operator(request: &HttpRequest, console: &Console, role: Role) -> Result<Operator, Problem> {
    are_on(console)?;
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        header.and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let known = token.map(|(_, token)| known(request, console, token.trim())).transpose()?.flatten();
    let known = known.ok_or_else(|| Problem::new(Code::Unauthorized, "Send Authorization: Bearer TOKEN."))?;
    Operator { name: known.name.clone(), role: known.role }.needs(role)
}

/// Checks that at least one operator is configured.
///
/// # Errors
/// 403, naming the setting that is needed.
pub fn are_on(console: &Console) -> Result<(), Problem> {
    if console.tokens.is_empty() { Err(Problem::new(Code::OperatorsOff, OFF)) } else { Ok(()) }
}

/// Returns the operator token that this text matches. All tokens are compared, in constant time, so that timing does
/// not reveal how much of a hash was guessed. A failed attempt is logged without the token, which may be almost right,
/// and makes its address wait; see [`Guard`](super::guesses::Guard).
///
/// # Errors
/// 429 after too many invalid tokens, with the time after which the next one is compared.
pub fn known<'c>(
    request: &HttpRequest,
    console: &'c Console,
    token: &str,
) -> Result<Option<&'c OperatorToken>, Problem> {
    let (client, now) = (console.clients.of(request), Instant::now());
    console.guard.may_try(client, now).map_err(|wait| {
        metrics::get().operators.refused(false);
        let seconds = wait.as_secs().saturating_add(1);
        let detail = format!("Too many invalid tokens were sent. Try again in {seconds} s.");
        Problem::new(Code::TooManyAttempts, detail).retry_after(seconds)
    })?;
    let hash = CtOutput::<Sha256>::new(Sha256::digest(token.as_bytes()));
    let mut found = None;
    for one in console.tokens.iter() {
        if CtOutput::<Sha256>::new(one.hash.into()) == hash {
            found = Some(one);
        }
    }
    if found.is_some() {
        console.guard.right(client, now);
    } else {
        console.guard.wrong(client, now);
        metrics::get().operators.refused(true);
        tracing::warn!(client.address = %client, "a token was refused: it is not an operator's");
    }
    Ok(found)
}
