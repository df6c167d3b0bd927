//! `OPERATOR_TOKENS`, `RABBITMQ_UI_URL`, `TRACE_VIEWER_URL`

use std::fmt;

use url::Url;

use super::{
    AdminConfig, BrokerConfig,
    broker::link,
    setting::{Setting, Source},
};

pub(super) const OPERATOR_TOKENS: Setting = Setting::secret(
    "OPERATOR_TOKENS",
    "who may use /admin and /ops at OPS_LISTEN: name:role:sha256hex, separated by commas; the role is read or operate, and the last part is the SHA-256 of a token that only its owner knows; unset: nobody, and both are off",
);

pub(super) const RABBITMQ_UI_URL: Setting = Setting {
    name: "RABBITMQ_UI_URL",
    default: None,
    secret: false,
    meaning: "the address at which operators' browsers reach RabbitMQ's management UI, for links from the console; unset: RABBITMQ_MANAGEMENT_URL",
};
pub(super) const TRACE_VIEWER_URL: Setting = Setting {
    name: "TRACE_VIEWER_URL",
    default: None,
    secret: false,
    meaning: "the address of a trace in the trace viewer, for links from the console, with {trace_id} in it, such as http://HOST:16686/trace/{trace_id}",
};

/// The placeholder for the trace id in `TRACE_VIEWER_URL`.
pub const TRACE_ID: &str = "{trace_id}";

/// The most operators: each request is compared with all of them.
const MOST: usize = 100;

/// The longest name.
const LONGEST_NAME: usize = 40;

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// View everything.
    Read,
    /// View and change things.
    Operate,
}

impl Role {
    /// Returns the word in `OPERATOR_TOKENS`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

/// An operator, known by the hash of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorToken {
    /// The operator's name in the list of actions.
    pub name: String,
    /// The operator's rights.
    pub role: Role,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
}

/// Omits the hash: a self-chosen token could be guessed from it.
impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorToken").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// The settings for operators.
#[derive(Debug, Clone)]
pub struct OperatorsConfig {
    /// The operators; without any, operator endpoints are off.
    pub tokens: Vec<OperatorToken>,
    /// RabbitMQ, if `AMQP_ADMIN_URL` is set: then its queues and dead letters can be shown. The user `orderflow-ops` is
    /// enough.
    pub broker: Option<(BrokerConfig, AdminConfig)>,
    /// RabbitMQ's management UI, if its address differs from the API's.
    pub ui_url: Option<Url>,
    /// The trace viewer's address, with [`TRACE_ID`] in place of the trace id.
    pub trace_viewer: Option<String>,
}

impl OperatorsConfig {
    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let tokens = match source.text(&OPERATOR_TOKENS) {
            None => Some(Vec::new()),
            Some(_) => source.parse(&OPERATOR_TOKENS, tokens),
        };
        let broker = match AdminConfig::is_given(source) {
            false => Some(None),
            true => BrokerConfig::read_admin(source).zip(AdminConfig::read(source)).map(Some),
        };
        let ui_url = source.parse(&RABBITMQ_UI_URL, link);
        let trace_viewer = source.parse(&TRACE_VIEWER_URL, trace_viewer);
        Some(Self { tokens: tokens?, broker: broker?, ui_url, trace_viewer })
    }
}

fn trace_viewer(text: &str) -> Result<String, String> {
    match link(text) {
        Ok(_) if text.contains(TRACE_ID) => Ok(text.to_owned()),
        _ => Err(format!("expected the form http://HOST:16686/trace/{TRACE_ID}")),
    }
}

fn tokens(text: &str) -> Result<Vec<OperatorToken>, String> {
    let all = text.split(',').map(|one| token(one.trim())).collect::<Option<Vec<_>>>().ok_or_else(|| {
        format!(
            "expected name:role:sha256hex, separated by commas; a name has up to {LONGEST_NAME} of a-z, 0-9, dot, \
             hyphen and underscore, a role is read or operate"
        )
    })?;
    let mut names: Vec<_> = all.iter().map(|token| &token.name).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != all.len() {
        return Err("expected each name once".to_owned());
    }
    if all.len() > MOST {
        return Err(format!("expected at most {MOST} operators"));
    }
    Ok(all)
}

fn token(text: &str) -> Option<OperatorToken> {
    let mut parts = text.split(':');
    let (name, role, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let is_of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    if parts.next().is_some() || name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_of_name) {
        return None;
    }
    let role = [Role::Read, Role::Operate].into_iter().find(|one| one.as_str() == role)?;
    let hash = hex::decode(hash).ok()?.try_into().ok()?;
    Some(OperatorToken { name: name.to_owned(), role, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<OperatorsConfig, String> {
        let source: Source = [("OPERATOR_TOKENS".to_owned(), text.to_owned())].into_iter().collect();
        let read = OperatorsConfig::read(&source);
        source.finish(read).map_err(|error| error.to_string())
    }

    #[test]
    fn operators_are_read_with_their_roles() {
        let hash = "ab".repeat(32);
        let config = read(&format!("ada:operate:{hash}, night-watch:read:{hash}")).expect("a valid setting");
        let found: Vec<_> = config.tokens.iter().map(|one| (one.name.as_str(), one.role)).collect();
        assert_eq!(found, [("ada", Role::Operate), ("night-watch", Role::Read)]);
        assert!(config.tokens.iter().all(|one| one.hash == [0xab; 32]) && Role::Operate > Role::Read);
        assert!(read(" ").is_ok_and(|config| config.tokens.is_empty()), "nobody");
    }

    #[test]
    fn shown_address_has_no_password_and_an_invalid_one_is_not_quoted() {
        let read = |name: &str, value: &str| {
            let broker = ("AMQP_ADMIN_URL", "amqps://admin:s@rabbit/shop");
            let all = [broker, ("RETRY_DELAYS", "1s"), (name, value)];
            let source: Source = all.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
            let read = OperatorsConfig::read(&source);
            source.finish(read).map(drop).map_err(|error| error.to_string())
        };
        for name in ["RABBITMQ_MANAGEMENT_URL", "RABBITMQ_UI_URL", "TRACE_VIEWER_URL"] {
            assert_eq!(read(name, "https://rabbit.example/{trace_id}"), Ok(()), "{name}");
            for user in ["ada:hush@", "ada@", ":hush@"] {
                let refused = read(name, &format!("http://{user}rabbit.example/{{trace_id}}")).expect_err(name);
                assert!(
                    refused.starts_with(name) && refused.contains("expected the form") && !refused.contains("hush"),
                    "{refused}"
                );
            }
        }
    }

    #[test]
    fn invalid_list_of_operators_is_refused_without_quoting_it() {
        let hash = "ab".repeat(32);
        for wrong in [
            "ada".to_owned(),
            format!("ada:{hash}"),
            format!("ada:boss:{hash}"),
            format!("Ada:read:{hash}"),
            format!(":read:{hash}"),
            format!("ada:read:{hash}:x"),
            "ada:read:abab".to_owned(),
            format!("ada:read:{hash},"),
            format!("ada:read:{hash},ada:operate:{hash}"),
        ] {
            let refused = read(&wrong).expect_err(&wrong);
            assert!(refused.starts_with("OPERATOR_TOKENS: expected") && !refused.contains("abab"), "{refused}");
        }
    }
}
