//! `AMQP_URL`, and for the operator's commands also `AMQP_ADMIN_URL`, `RABBITMQ_MANAGEMENT_URL`, `AMQP_WEB_PASSWORD`,
//! `AMQP_WORKER_PASSWORD`, `AMQP_VIEWER_PASSWORD`, `AMQP_INSPECTOR_PASSWORD` and `RETRY_DELAYS`

use std::{fmt, str::FromStr, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::setting::{self, Setting, Source};

pub(super) const AMQP_URL: Setting = Setting {
    name: "AMQP_URL",
    default: None,
    secret: true,
    meaning: "RabbitMQ, such as amqp://USER:PASSWORD@HOST:5672/VHOST; several, with commas between, are the nodes of one cluster and tried in turn",
};
pub(super) const AMQP_ADMIN_URL: Setting = Setting {
    name: "AMQP_ADMIN_URL",
    default: None,
    secret: true,
    meaning: "RabbitMQ with an administrator's name and password, such as amqp://orderflow-admin:PASSWORD@HOST:5672/VHOST; the operator's commands use it, and /admin and /ops for queues and dead letters",
};
pub(super) const RABBITMQ_MANAGEMENT_URL: Setting = Setting {
    name: "RABBITMQ_MANAGEMENT_URL",
    default: None,
    secret: false,
    meaning: "RabbitMQ's management API, such as http://HOST:15672; unset: port 15672 of the host in AMQP_ADMIN_URL",
};
pub(super) const AMQP_WEB_PASSWORD: Setting = Setting {
    name: "AMQP_WEB_PASSWORD",
    default: None,
    secret: true,
    meaning: "the password that `orderflow topology apply` gives to the user orderflow-web; unset: that user is left as it is",
};
pub(super) const AMQP_WORKER_PASSWORD: Setting = Setting {
    name: "AMQP_WORKER_PASSWORD",
    default: None,
    secret: true,
    meaning: "the same for the user orderflow-worker",
};
pub(super) const AMQP_VIEWER_PASSWORD: Setting = Setting {
    name: "AMQP_VIEWER_PASSWORD",
    default: None,
    secret: true,
    meaning: "the same for the user orderflow-viewer, who sees queues, rates and connections in the management UI, and no messages",
};
pub(super) const AMQP_INSPECTOR_PASSWORD: Setting = Setting {
    name: "AMQP_INSPECTOR_PASSWORD",
    default: None,
    secret: true,
    meaning: "the same for the user orderflow-inspector, who may also read dead letters and unrouted messages; what may be read may be purged",
};
pub(super) const RETRY_DELAYS: Setting = Setting {
    name: "RETRY_DELAYS",
    default: Some("1s,10s,1m,10m,1h,6h"),
    secret: false,
    meaning: "how long a message waits before each further attempt; `orderflow topology apply` makes one queue for each, and workers have to have the same list",
};

/// Where the broker is, for applications.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The nodes, tried in turn; never empty.
    pub urls: Vec<SecretString>,
}

impl BrokerConfig {
    /// Reads its variable; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let urls = source.require(&AMQP_URL, |text| {
            text.split(',').map(|one| amqp_url(one.trim()).map(|url| SecretString::from(url.to_string()))).collect()
        })?;
        Some(Self { urls })
    }

    /// As whoever there is, for who only looks and can do without: the administrator, else as [`BrokerConfig::read`].
    #[must_use]
    pub fn read_any(source: &Source) -> Option<Self> {
        if source.given(&AMQP_ADMIN_URL).is_some() {
            return Self::read_admin(source);
        }
        source.given(&AMQP_URL)?;
        Self::read(source)
    }

    /// As an administrator: reads `AMQP_ADMIN_URL` instead.
    #[must_use]
    pub fn read_admin(source: &Source) -> Option<Self> {
        let url = source.require(&AMQP_ADMIN_URL, amqp_url)?;
        Some(Self { urls: vec![SecretString::from(url.to_string())] })
    }
}

/// Passwords for the users that `orderflow topology apply` makes; `None` leaves a user as it is.
#[derive(Debug, Clone, Default)]
pub struct Users {
    /// For `orderflow-web`.
    pub web: Option<SecretString>,
    /// For `orderflow-worker`.
    pub worker: Option<SecretString>,
    /// For `orderflow-viewer`.
    pub viewer: Option<SecretString>,
    /// For `orderflow-inspector`.
    pub inspector: Option<SecretString>,
}

/// What `orderflow topology` needs to reach the broker's management API and to know what belongs there.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The API's root, without credentials.
    pub management_url: Url,
    /// The administrator.
    pub user: String,
    /// The administrator's password.
    pub password: SecretString,
    /// The virtual host that everything lives in.
    pub vhost: String,
    /// Who is to be made, with which password.
    pub users: Users,
    /// The retry tiers.
    pub retry_delays: RetryDelays,
}

impl AdminConfig {
    /// Whether there is an administrator at all: the front end does without, and then shows operators less.
    #[must_use]
    pub fn is_given(source: &Source) -> bool {
        source.given(&AMQP_ADMIN_URL).is_some()
    }

    /// Reads its variables; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let retry_delays = RetryDelays::read(source);
        let admin = source.require(&AMQP_ADMIN_URL, amqp_url);
        let management = source.parse(&RABBITMQ_MANAGEMENT_URL, http_url);
        let secret = |setting: &Setting| source.text(setting).map(SecretString::from);
        let users = Users {
            web: secret(&AMQP_WEB_PASSWORD),
            worker: secret(&AMQP_WORKER_PASSWORD),
            viewer: secret(&AMQP_VIEWER_PASSWORD),
            inspector: secret(&AMQP_INSPECTOR_PASSWORD),
        };
        let admin = admin?;
        Some(Self {
            management_url: management.or_else(|| management_beside(&admin))?,
            user: decoded(admin.username()),
            password: decoded(admin.password().unwrap_or_default()).into(),
            vhost: vhost(&admin),
            users,
            retry_delays: retry_delays?,
        })
    }
}

fn amqp_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "amqp" | "amqps") && url.has_host() => Ok(url),
        _ => Err("expected the form amqp://USER:PASSWORD@HOST:5672/VHOST".to_owned()),
    }
}

/// An address of web pages, without credentials: it is shown to whoever may look.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let is_public = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let wrong = || "expected the form http://HOST:15672, without user and password".to_owned();
    Url::parse(text).ok().filter(is_public).ok_or_else(wrong)
}

/// The management plugin's usual place: the same host, port 15672 (its documented default).
fn management_beside(admin: &Url) -> Option<Url> {
    Url::parse(&format!("http://{}:15672", admin.host_str()?)).ok()
}

/// The URL's path is the virtual host; none means `/` (AMQP URI specification).
fn vhost(url: &Url) -> String {
    match url.path().trim_start_matches('/') {
        "" => "/".to_owned(),
        path => decoded(path),
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The waits before each further attempt, shortest first: at least one, at most twelve, all different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryDelays(Vec<Duration>);

impl RetryDelays {
    /// Reads its variable; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        source.require(&RETRY_DELAYS, str::parse)
    }

    /// The waits, shortest first.
    #[must_use]
    pub fn as_slice(&self) -> &[Duration] {
        &self.0
    }

    /// The wait after the attempt with this number (the first is 1), or `None` when no further attempt is due.
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
        // RabbitMQ counts TTLs in whole milliseconds; twelve tiers are far more than anyone waits for.
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
    fn a_list_that_is_no_ascending_list_of_lengths_is_refused() {
        for text in ["", "soon", "0s", "1s,", "10s,1s", "1s,1s", "1us"] {
            assert!(text.parse::<RetryDelays>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_admin_url_gives_user_password_vhost_and_the_usual_management_port() {
        let source: Source = [("AMQP_ADMIN_URL", "amqp://admin:s%40t@rabbit:5672/shop"), ("RETRY_DELAYS", "1s")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let admin = AdminConfig::read(&source).unwrap();
        assert_eq!((admin.user.as_str(), admin.vhost.as_str()), ("admin", "shop"));
        assert_eq!(admin.management_url.as_str(), "http://rabbit:15672/");
        assert_eq!(secrecy::ExposeSecret::expose_secret(&admin.password), "s@t");
    }
}
