//! `AMQP_URL`, and for operators' commands also `AMQP_ADMIN_URL`, `RABBITMQ_MANAGEMENT_URL`, `AMQP_WEB_PASSWORD`,
//! `AMQP_WORKER_PASSWORD`, `AMQP_OPS_PASSWORD`, `AMQP_VIEWER_PASSWORD`, `AMQP_INSPECTOR_PASSWORD` and `RETRY_DELAYS`

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use lapin::uri::AMQPUri;
use secrecy::SecretString;
use url::Url;

use super::{
    address::{Address, Form, HTTP, Query},
    amqp::{self, BrokerNode},
    own_ca::OwnCa,
    plaintext::PlaintextHosts,
    setting::{self, Setting, Source},
};

pub(super) const AMQP_URL: Setting = Setting::secret(
    "AMQP_URL",
    "RabbitMQ, such as amqps://USER:PASSWORD@HOST:5671/VHOST, or amqp://… for a host in PLAINTEXT_HOSTS; no path means the virtual host /; ?heartbeat=SECONDS, frame_max=BYTES and auth_mechanism=plain|amqplain may follow; several, separated by commas, are the nodes of one cluster and are tried in turn",
);
pub(super) const AMQP_ADMIN_URL: Setting = Setting::secret(
    "AMQP_ADMIN_URL",
    "RabbitMQ for operators' commands, /admin and /ops, such as amqp://orderflow-ops:PASSWORD@HOST:5672/VHOST; `orderflow topology apply`, `orderflow rights narrow` and a complete `orderflow doctor` need an administrator",
);
pub(super) const RABBITMQ_MANAGEMENT_URL: Setting = Setting {
    name: "RABBITMQ_MANAGEMENT_URL",
    default: None,
    secret: false,
    meaning: "RabbitMQ's management API, such as https://HOST:15671; unset: the host of AMQP_ADMIN_URL, with https and port 15671 for amqps://, http and port 15672 for amqp://",
};
pub(super) const AMQP_WEB_PASSWORD: Setting = Setting::secret(
    "AMQP_WEB_PASSWORD",
    "the password that `orderflow topology apply` gives to the user orderflow-web; unset: that user is left as it is",
);
pub(super) const AMQP_WORKER_PASSWORD: Setting =
    Setting::secret("AMQP_WORKER_PASSWORD", "the same for the user orderflow-worker");
pub(super) const AMQP_OPS_PASSWORD: Setting = Setting::secret(
    "AMQP_OPS_PASSWORD",
    "the same for the user orderflow-ops, with which the console and operators' commands replay dead letters, and which may change no user and no queue",
);
pub(super) const AMQP_VIEWER_PASSWORD: Setting = Setting::secret(
    "AMQP_VIEWER_PASSWORD",
    "the same for the user orderflow-viewer, who sees queues, rates and connections in the management UI, and no messages",
);
pub(super) const AMQP_INSPECTOR_PASSWORD: Setting = Setting::secret(
    "AMQP_INSPECTOR_PASSWORD",
    "the same for the user orderflow-inspector, who may also read dead letters and unrouted messages; read access includes purging",
);
pub(super) const RETRY_DELAYS: Setting = Setting {
    name: "RETRY_DELAYS",
    default: Some("1s,10s,1m,10m,1h,6h"),
    secret: false,
    meaning: "how long a message waits before each further attempt; `orderflow topology apply` creates one queue for each, and workers must have the same list",
};

const MANAGEMENT: Form =
    Form { schemes: HTTP, shown: "http://HOST:15672", credentials: false, path: true, query: Query::Only(&[]) };

/// An address that browsers open.
pub(super) const LINK: Form =
    Form { schemes: HTTP, shown: "http://HOST:15672", credentials: false, path: true, query: Query::Any };

/// The management plugin's documented ports for http and for https.
const MANAGEMENT_PORTS: [u16; 2] = [15672, 15671];

/// The location of the broker, for applications.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The nodes, tried in turn; never empty.
    pub nodes: Vec<BrokerNode>,
    /// The CAs trusted in addition to the system's, for encrypted nodes.
    pub own_ca: Option<OwnCa>,
}

impl BrokerConfig {
    /// Reads its variable. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let own_ca = OwnCa::read(source);
        source.require(&AMQP_URL, |text| {
            let nodes = text.split(',').map(|one| Ok(node(source, &permitted, &AMQP_URL, one.trim())?.1));
            let nodes = nodes.collect::<Result<Vec<_>, String>>()?;
            let differ = nodes.iter().zip(nodes.iter().skip(1)).any(|(one, next)| one.uri().vhost != next.uri().vhost);
            if differ {
                return Err("expected the nodes of one cluster, with the same virtual host in each".to_owned());
            }
            Ok(Self { nodes, own_ca })
        })
    }

    /// Reads `AMQP_ADMIN_URL` if it is set, otherwise as [`BrokerConfig::read`]: for commands that only read and can do
    /// without an administrator.
    #[must_use]
    pub fn read_any(source: &Source) -> Option<Self> {
        if source.given(&AMQP_ADMIN_URL).is_some() {
            return Self::read_admin(source);
        }
        source.given(&AMQP_URL)?;
        Self::read(source)
    }

    /// Reads `AMQP_ADMIN_URL` instead, for an administrator.
    #[must_use]
    pub fn read_admin(source: &Source) -> Option<Self> {
        let own_ca = OwnCa::read(source);
        Some(Self { nodes: vec![admin(source)?.1], own_ca })
    }
}

fn admin(source: &Source) -> Option<(Address, BrokerNode)> {
    let permitted = PlaintextHosts::read(source);
    source.require(&AMQP_ADMIN_URL, |text| node(source, &permitted, &AMQP_ADMIN_URL, text))
}

fn node(
    source: &Source,
    permitted: &PlaintextHosts,
    by: &Setting,
    text: &str,
) -> Result<(Address, BrokerNode), String> {
    let address = Address::parse(text, &amqp::FORM)?;
    let node = BrokerNode::new(&address)?;
    permitted.permit(source, by, &address, "amqps://")?;
    Ok((address, node))
}

/// Passwords for the users that `orderflow topology apply` creates; `None` leaves a user unchanged.
#[derive(Debug, Clone, Default)]
pub struct Users {
    /// For `orderflow-web`.
    pub web: Option<SecretString>,
    /// For `orderflow-worker`.
    pub worker: Option<SecretString>,
    /// For `orderflow-ops`.
    pub ops: Option<SecretString>,
    /// For `orderflow-viewer`.
    pub viewer: Option<SecretString>,
    /// For `orderflow-inspector`.
    pub inspector: Option<SecretString>,
    /// For each service's own user, `orderflow-payment` for example, by the service's name.
    pub services: BTreeMap<&'static str, SecretString>,
}

impl Users {
    /// Reads the passwords of all users except those of services.
    #[must_use]
    pub fn read(source: &Source) -> Self {
        Self {
            web: source.secret(&AMQP_WEB_PASSWORD),
            worker: source.secret(&AMQP_WORKER_PASSWORD),
            ops: source.secret(&AMQP_OPS_PASSWORD),
            viewer: source.secret(&AMQP_VIEWER_PASSWORD),
            inspector: source.secret(&AMQP_INSPECTOR_PASSWORD),
            services: BTreeMap::new(),
        }
    }
}

/// The settings with which `orderflow topology` reaches the broker's management API and knows what belongs there.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The API's root, without credentials.
    pub management_url: Url,
    /// The CAs trusted in addition to the system's, if it is encrypted.
    pub own_ca: Option<OwnCa>,
    /// The administrator.
    pub user: String,
    /// The administrator's password.
    pub password: SecretString,
    /// The virtual host that everything lives in.
    pub vhost: String,
    /// The passwords to give to users. Empty after [`AdminConfig::read`]: only `orderflow topology` needs them.
    pub users: Users,
    /// The retry tiers.
    pub retry_delays: RetryDelays,
}

impl AdminConfig {
    /// Returns whether an administrator is set. The front end works without one, and then shows operators less.
    #[must_use]
    pub fn is_given(source: &Source) -> bool {
        source.given(&AMQP_ADMIN_URL).is_some()
    }

    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let retry_delays = RetryDelays::read(source);
        let admin = admin(source);
        let permitted = PlaintextHosts::read(source);
        let own_ca = OwnCa::read(source);
        let management = source.parse(&RABBITMQ_MANAGEMENT_URL, |text| {
            let address = Address::parse(text, &MANAGEMENT)?;
            permitted.permit(source, &RABBITMQ_MANAGEMENT_URL, &address, "https://")?;
            Ok(address.url)
        });
        let (address, node) = admin?;
        let AMQPUri { authority, vhost, .. } = node.uri().clone();
        Some(Self {
            management_url: management.or_else(|| management_beside(&address))?,
            own_ca,
            user: authority.userinfo.username,
            password: authority.userinfo.password.into(),
            vhost,
            users: Users::default(),
            retry_delays: retry_delays?,
        })
    }
}

/// Parses an address that browsers open. It must have no credentials, since anyone may see it.
pub(super) fn link(text: &str) -> Result<Url, String> {
    Ok(Address::parse(text, &LINK)?.url)
}

/// Returns the default address of the management plugin on the same host: encrypted if AMQP is.
fn management_beside(admin: &Address) -> Option<Url> {
    let [plain, encrypted] = MANAGEMENT_PORTS;
    let (scheme, port) = if admin.encrypted { ("https", encrypted) } else { ("http", plain) };
    Url::parse(&format!("{scheme}://{}:{port}", admin.host)).ok()
}

/// The waits before each further attempt, shortest first: at least one, at most twelve, all different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryDelays(Vec<Duration>);

impl RetryDelays {
    /// Reads its variable. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        source.require(&RETRY_DELAYS, str::parse)
    }

    /// Returns the waits, shortest first.
    #[must_use]
    pub fn as_slice(&self) -> &[Duration] {
        &self.0
    }

    /// Returns the wait after the attempt with this number (the first is 1), or `None` if no further attempt is due.
    #[must_use]
    pub fn after_attempt(&self, attempt: u32) -> Option<Duration> {
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        self.0.get(index).copied()
    }
}

impl FromStr for RetryDelays {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let delays = text.split(',').map(|one| setting::duration(one.trim())).collect::<Result<Vec<_>, _>>()?;
        let ascending = delays.iter().zip(delays.iter().skip(1)).all(|(one, next)| one < next);
        // RabbitMQ counts TTLs in whole milliseconds; twelve tiers are far more than anyone needs.
        let whole = delays.iter().all(|delay| delay.subsec_nanos() % 1_000_000 == 0);
        if delays.len() > 12 || !ascending || !whole {
            return Err(
                "expected up to twelve lengths of time, each longer than the one before, such as 1s,10s,1m".to_owned()
            );
        }
        Ok(Self(delays))
    }
}

impl fmt::Display for RetryDelays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(|delay| humantime::format_duration(*delay).to_string()).collect();
        f.write_str(&texts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn each_attempt_has_its_delay_and_after_the_last_there_is_none() {
        let delays: RetryDelays = "1s,10s,1m".parse().unwrap();
        assert_eq!(delays.after_attempt(1), Some(Duration::from_secs(1)));
        assert_eq!(delays.after_attempt(3), Some(Duration::from_secs(60)));
        assert_eq!(delays.after_attempt(4), None);
        assert_eq!(delays.after_attempt(0), None);
        assert_eq!(delays.to_string(), "1s,10s,1m");
    }

    #[test]
    fn list_that_is_not_ascending_durations_is_refused() {
        for text in ["", "soon", "0s", "1s,", "10s,1s", "1s,1s", "1us"] {
            assert!(text.parse::<RetryDelays>().is_err(), "{text:?}");
        }
    }

    fn source(settings: &[(&str, &str)]) -> Source {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Returns what both AMQP and the management API use for this URL. Both come from one reading, so that they cannot
    /// differ.
    fn means(url: &str) -> Result<(String, u16, String, String, String), String> {
        let source =
            source(&[("AMQP_ADMIN_URL", url), ("RETRY_DELAYS", "1s"), ("PLAINTEXT_HOSTS", "rabbit,2001:db8::1")]);
        let (broker, admin) = (BrokerConfig::read_admin(&source), AdminConfig::read(&source));
        let (broker, admin) = source.finish(broker.zip(admin)).map_err(|error| error.to_string())?;
        let uri = broker.nodes[0].uri();
        assert_eq!((&uri.vhost, &uri.authority.userinfo.username), (&admin.vhost, &admin.user), "{url}");
        assert_eq!(uri.authority.userinfo.password, admin.password.expose_secret(), "{url}");
        let (host, port) = (uri.authority.host.clone(), uri.authority.port);
        Ok((host, port, admin.user, admin.vhost, admin.management_url.into()))
    }

    /// Virtual hosts follow RabbitMQ's URI specification, and ports the management plugin's documentation. The
    /// management API is encrypted if AMQP is, since the administrator's password goes there too.
    #[test]
    fn amqp_and_management_use_the_same_server_and_virtual_host() {
        for (url, host, port, user, vhost, management) in [
            ("amqp://admin:s%40t@rabbit:5672/shop", "rabbit", 5672, "admin", "shop", "http://rabbit:15672/"),
            (
                "amqps://admin:x@rabbit.example/shop",
                "rabbit.example",
                5671,
                "admin",
                "shop",
                "https://rabbit.example:15671/",
            ),
            ("amqp://u:x@[2001:db8::1]:5673/v", "2001:db8::1", 5673, "u", "v", "http://[2001:db8::1]:15672/"),
            ("amqps://u:x@[2001:db8::2]/v", "2001:db8::2", 5671, "u", "v", "https://[2001:db8::2]:15671/"),
            ("amqp://u:x@localhost", "localhost", 5672, "u", "/", "http://localhost:15672/"),
            ("amqp://u:x@localhost/%2F", "localhost", 5672, "u", "/", "http://localhost:15672/"),
            ("amqp://u:x@localhost/%2Fshop", "localhost", 5672, "u", "/shop", "http://localhost:15672/"),
            ("amqp://u:x@localhost/sh%C3%B6p", "localhost", 5672, "u", "shöp", "http://localhost:15672/"),
            ("amqp://localhost/v", "localhost", 5672, "guest", "v", "http://localhost:15672/"),
        ] {
            let expected = (host.to_owned(), port, user.to_owned(), vhost.to_owned(), management.to_owned());
            assert_eq!(means(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn ambiguous_or_unusable_address_is_refused() {
        for (url, why) in [
            ("amqp://u:hush@rabbit/", "a lone /"),
            ("amqp://u:hush@rabbit//shop", "%2F"),
            ("amqp://u:hush@rabbit/shop/", "%2F"),
            ("amqp://u:hush@rabbit/a/b", "%2F"),
            ("amqp://u:hush@rabbit/%ff", "not UTF-8"),
            ("amqp://hush@rabbit/shop", "user without a password"),
            ("amqp://u:hush@rabbit/shop?connection_timeout=3", "connection_timeout is not a parameter"),
            ("amqps://u:hush@rabbit/shop?verify=verify_none", "verify is not a parameter"),
            ("amqp://u:hush@rabbit/shop?frame_max=4096", "frame_max"),
            ("amqp://u:hush@rabbit/shop?heartbeat=soon", "heartbeat"),
            ("amqp://u:hush@rabbit/shop?auth_mechanism=external", "auth_mechanism"),
            ("amqp://u:hush@elsewhere/shop", "PLAINTEXT_HOSTS"),
            ("amqp://u:hush@[2001:db8::3]/shop", "add 2001:db8::3 to PLAINTEXT_HOSTS"),
        ] {
            let refused = means(url).expect_err(url);
            assert!(refused.starts_with("AMQP_ADMIN_URL: ") && refused.contains(why), "{url}: {refused}");
            assert!(
                !refused.contains("hush") && !refused.contains('\n') && refused.contains("expected"),
                "{url}: {refused}"
            );
        }
    }

    #[test]
    fn nodes_of_a_cluster_have_one_virtual_host() {
        let read = |urls: &str| {
            let source = source(&[("AMQP_URL", urls)]);
            let read = BrokerConfig::read(&source);
            source.finish(read).map(|broker| broker.nodes.len()).map_err(|error| error.to_string())
        };
        assert_eq!(read("amqp://u:x@127.0.0.1:1/v, amqp://u:x@[::1]:2/v"), Ok(2));
        assert!(
            read("amqp://u:x@127.0.0.1:1/v,amqp://u:x@127.0.0.1:2/w")
                .is_err_and(|why| why.contains("same virtual host"))
        );
        assert!(read("amqp://u:x@127.0.0.1:1/v,").is_err());
    }

    #[test]
    fn management_api_is_used_without_encryption_only_where_permitted() {
        let read = |management: &str| {
            let settings = [("AMQP_ADMIN_URL", "amqps://u:hush@rabbit/v"), ("RABBITMQ_MANAGEMENT_URL", management)];
            let source = source(&settings);
            let read = AdminConfig::read(&source);
            source.finish(read).map(|admin| admin.management_url.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(read("https://rabbit/prefix"), Ok("https://rabbit/prefix".to_owned()));
        assert_eq!(read("http://127.0.0.1:15672"), Ok("http://127.0.0.1:15672/".to_owned()));
        for refused in
            ["http://rabbit:15672", "https://rabbit?a=b", "https://rabbit#a", "https://u:hush@rabbit", "rabbit:15672"]
        {
            let why = read(refused).expect_err(refused);
            assert!(why.starts_with("RABBITMQ_MANAGEMENT_URL") && !why.contains("hush"), "{why}");
        }
    }
}
