//! A virtual host that cannot be opened, described in the same words wherever that is detected.

use std::fmt;

use lapin::{ErrorKind, uri::AMQPUri};

/// AMQP's reply code for a virtual host that is missing or that the user may not access; RabbitMQ's text says which.
const NOT_ALLOWED: u16 = 530;

/// A virtual host that does not exist, or that the user may not access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoVhost {
    vhost: String,
    user: String,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Missing,
    Closed,
    /// The management API shows users who are not administrators only the virtual hosts that they may access.
    MissingOrClosed,
}

impl NoVhost {
    /// Returns a virtual host that the management API did not list for `user`.
    #[must_use]
    pub fn unlisted(vhost: &str, user: &str, is_administrator: bool) -> Self {
        let why = if is_administrator { Why::Missing } else { Why::MissingOrClosed };
        Self { vhost: vhost.to_owned(), user: user.to_owned(), why }
    }

    /// Returns the virtual host that made RabbitMQ refuse this connection, if any. A limit on connections has the same
    /// reply code.
    pub(super) fn behind(error: &lapin::Error, uri: &AMQPUri) -> Option<Self> {
        let ErrorKind::ProtocolError(amqp) = error.kind() else { return None };
        let text = amqp.get_message().as_str();
        let user = &uri.authority.userinfo.username;
        let why = match amqp.get_id() {
            NOT_ALLOWED if text.ends_with("not found") => Why::Missing,
            NOT_ALLOWED if text.ends_with(&format!("refused for user '{user}'")) => Why::Closed,
            _ => return None,
        };
        Some(Self { vhost: uri.vhost.clone(), user: user.clone(), why })
    }

    /// Returns what is wrong, without a full stop.
    #[must_use]
    pub fn what(&self) -> String {
        let Self { vhost, user, why } = self;
        match why {
            Why::Missing => format!("RabbitMQ has no virtual host {vhost}"),
            Why::Closed => format!("RabbitMQ's user {user} may not access the virtual host {vhost}"),
            Why::MissingOrClosed => {
                format!("RabbitMQ has no virtual host {vhost}, or none that AMQP_ADMIN_URL's user ({user}) may access")
            }
        }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let Self { vhost, user, why } = self;
        let permit = format!("`rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*'`");
        match why {
            Why::Missing => "`orderflow topology apply` creates it and everything in it; or AMQP_ADMIN_URL and \
                             AMQP_URL name the wrong one"
                .to_owned(),
            Why::Closed if user.starts_with("orderflow-") => {
                format!(
                    "`orderflow topology apply` gives Orderflow's users access; {permit} gives it to an administrator"
                )
            }
            Why::Closed => format!("a RabbitMQ administrator must give the user access ({permit})"),
            Why::MissingOrClosed => format!(
                "a RabbitMQ administrator must create it (`rabbitmqctl add_vhost {vhost}`) and give the user access ({permit}), \
                 then run `orderflow topology apply`; or AMQP_ADMIN_URL names the wrong one"
            ),
        }
    }
}

impl fmt::Display for NoVhost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what(), self.remedy())
    }
}

impl std::error::Error for NoVhost {}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError};

    use super::*;

    fn behind(text: &str) -> Option<String> {
        let refused = AMQPError::new(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED), text.into());
        let uri = "amqp://shop:secret@127.0.0.1/v".parse().expect("a URI");
        NoVhost::behind(&ErrorKind::ProtocolError(refused).into(), &uri).map(|no| no.what())
    }

    /// The texts of RabbitMQ 3.10 to 4.3.
    #[test]
    fn refused_connection_names_the_virtual_host_only_where_that_is_the_cause() {
        assert_eq!(behind("NOT_ALLOWED - vhost v not found").as_deref(), Some("RabbitMQ has no virtual host v"));
        assert_eq!(
            behind("NOT_ALLOWED - access to vhost 'v' refused for user 'shop'").as_deref(),
            Some("RabbitMQ's user shop may not access the virtual host v")
        );
        let limit = "NOT_ALLOWED - access to vhost 'v' refused for user 'shop': connection limit (1) is reached";
        assert_eq!(behind(limit), None);
    }
}
