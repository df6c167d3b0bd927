//! The parts of an address of RabbitMQ besides its host.

use std::fmt;

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism};
use secrecy::ExposeSecret as _;
use url::Url;

use super::{
    address::{self, Address, Form, Query, Scheme},
    setting,
};

/// According to RabbitMQ's URI specification, `amqp://HOST` means the virtual host `/`, and `amqp://HOST/` the one
/// whose name is empty.
pub(super) const FORM: Form = Form {
    schemes: &[
        Scheme { name: "amqp", port: 5672, encrypted: false },
        Scheme { name: "amqps", port: 5671, encrypted: true },
    ],
    shown: "amqp://USER:PASSWORD@HOST:5672/VHOST",
    credentials: true,
    path: true,
    // The parameters that lapin really uses. It also parses connection_timeout but never uses it.
    query: Query::Only(&["frame_max", "heartbeat", "auth_mechanism"]),
};

/// The smallest frame that RabbitMQ accepts since 4.1 (AMQP itself allows 4096).
const LEAST_FRAME: u32 = 8192;

/// A node of the broker, and our user there.
#[derive(Clone)]
pub struct BrokerNode(AMQPUri);

/// Omits the password.
impl fmt::Debug for BrokerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = &self.0.authority;
        f.debug_struct("BrokerNode").field("host", &at.host).field("port", &at.port).finish_non_exhaustive()
    }
}

impl BrokerNode {
    /// Returns the URI that lapin connects to.
    #[must_use]
    pub const fn uri(&self) -> &AMQPUri {
        &self.0
    }

    /// Returns whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
    }

    pub(super) fn new(address: &Address) -> Result<Self, String> {
        let number = |name: &str| address.parameter(name);
        let frame_max = number("frame_max").map(|text| match setting::number(text, 0, u32::MAX) {
            Ok(bytes) if bytes == 0 || bytes >= LEAST_FRAME => Ok(bytes),
            _ => Err(format!("expected frame_max to be 0 or at least {LEAST_FRAME}")),
        });
        let heartbeat = number("heartbeat").map(|text| {
            setting::number(text, 0, u16::MAX).map_err(|expected| format!("heartbeat: {expected} (seconds)"))
        });
        let auth_mechanism = number("auth_mechanism").map(|text| match text.to_ascii_lowercase().as_str() {
            "plain" => Ok(SASLMechanism::Plain),
            "amqplain" => Ok(SASLMechanism::AMQPlain),
            _ => Err("expected auth_mechanism to be plain or amqplain".to_owned()),
        });
        let query = AMQPQueryString {
            frame_max: frame_max.transpose()?,
            heartbeat: heartbeat.transpose()?,
            auth_mechanism: auth_mechanism.transpose()?,
            ..AMQPQueryString::default()
        };
        let userinfo = match &address.credentials {
            Some((username, password)) => {
                AMQPUserInfo { username: username.clone(), password: password.expose_secret().to_owned() }
            }
            // The specification leaves this to the client. RabbitMQ's own clients use guest, who may connect only from
            // the broker's own host.
            None => AMQPUserInfo::default(),
        };
        Ok(Self(AMQPUri {
            scheme: if address.encrypted { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            vhost: vhost(&address.url)?,
            authority: AMQPAuthority { userinfo, host: address.host_name(), port: address.port },
            query,
        }))
    }
}

/// Returns the virtual host that the path names.
fn vhost(url: &Url) -> Result<String, String> {
    let Some(name) = url.path().strip_prefix('/') else { return Ok("/".to_owned()) };
    let expected = "expected the name of a virtual host as the path";
    match name {
        "" => Err(format!(
            "{expected}: a lone / means the virtual host with an empty name; for the one named /, leave it out or write %2F"
        )),
        _ if name.contains('/') => Err(format!("{expected}, with each / in it written as %2F")),
        _ => address::decoded(name).map_err(|why| format!("{expected}: {why}")),
    }
}
