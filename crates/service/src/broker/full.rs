//! RabbitMQ's limit on our connections: of the virtual host, the user or the node.

use std::fmt;

use lapin::ErrorKind;

/// AMQP's reply code; RabbitMQ's text distinguishes a limit from a virtual host that the user may not access.
const NOT_ALLOWED: u16 = 530;

/// RabbitMQ has reached its limit on connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full(String);

impl Full {
    /// Returns the limit that made RabbitMQ refuse this connection, if any.
    pub(super) fn behind(error: &lapin::Error) -> Option<Self> {
        let ErrorKind::ProtocolError(amqp) = error.kind() else { return None };
        let text = amqp.get_message().as_str();
        (amqp.get_id() == NOT_ALLOWED && text.contains("connection limit")).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RabbitMQ has no connection left ({}): raise max-connections (`rabbitmqctl set_vhost_limits`, `set_user_limits`, or the \
             hosting plan), or run fewer processes; a worker for all services and a front end need ten",
            self.0
        )
    }
}

impl std::error::Error for Full {}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError};

    use super::*;

    /// The texts of RabbitMQ 3.10 to 4.3.
    #[test]
    fn limit_is_distinguished_from_a_closed_virtual_host() {
        for (text, expected) in [
            ("NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached", true),
            ("NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached", true),
            ("NOT_ALLOWED - connection refused: node connection limit (1) is reached", true),
            ("NOT_ALLOWED - access to vhost 'v' refused for user 'u'", false),
            ("NOT_ALLOWED - vhost v not found", false),
        ] {
            let refused = AMQPError::new(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED), text.into());
            assert_eq!(Full::behind(&ErrorKind::ProtocolError(refused).into()).is_some(), expected, "{text}");
        }
    }
}
