//! Configures connections to PostgreSQL: their server settings and their socket.

use std::time::Duration;

use diesel::ConnectionError;

use super::wire::Pooled;
use crate::config::{DatabaseConfig, PostgresServer, set_by};

/// The bounds that every connection requests. Our statements take milliseconds: these only end what is stuck.
/// `lock_timeout` is shorter than `statement_timeout` so that the error names a lock as the cause.
const SERVER_BOUNDS: [(&str, &str); 3] =
    [("statement_timeout", "30s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "30s")];

/// Settings that make PostgreSQL find rows by index only.
///
/// Without statistics, as in a new shop, it plans to read a whole table for each batch of keys: a quarter of its time
/// in a run of 8,000 orders. With these settings one plan suits tables of any size, so each prepared statement is
/// planned once. With batches of one key, planning each of them took a fifth of PostgreSQL's time. `jit` is off because
/// a sequential scan that no index can replace now counts as very costly, so PostgreSQL would compile it.
///
/// `enable_material` is off because PostgreSQL otherwise joins a batch of keys with all of a subscription's rows in the
/// inbox, kept in memory, while that table is small. The plan is kept while the table grows, until its first ANALYZE. At
/// 163 orders/s in a new shop, this one statement took 6.6 ms a batch instead of 0.06, half of PostgreSQL's time.
pub(super) const BY_KEY: [(&str, &str); 6] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// The most time for connecting to all the servers that a URL names: the pool gives up one second later.
const CONNECT: Duration = Duration::from_secs(4);

/// A server that vanished silently is noticed after 15 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);

/// The driver's default for `keepalives_idle`: if it is still there, nobody has set another value.
const DRIVERS_KEEPALIVE_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// The server that a pool connects to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) server: PostgresServer,
    /// How to work with a pooler there, if it is one in transaction mode.
    pub(super) pooled: Option<Pooled>,
}

/// Returns the configuration of a long-lived program's connections: our bounds and `more` settings, except those that
/// the URL sets itself. `program` is the application name in `pg_stat_activity`.
///
/// A connection requests the settings when it opens. Behind a pooler in transaction mode, where the next transaction
/// may run in another session, each transaction requests them.
///
/// # Errors
/// Fails if the URL cannot be read.
pub(super) fn bounded(
    config: &DatabaseConfig,
    program: &str,
    more: &[(&str, &str)],
) -> Result<Target, ConnectionError> {
    let mut server = unbounded(config, program)?;
    let driver = &mut server.driver;
    let own = driver.get_options().unwrap_or_default().to_owned();
    let set = set_by(&own).map_err(ConnectionError::InvalidConnectionUrl)?;
    let ours = SERVER_BOUNDS.iter().chain(more).filter(|(name, _)| !set.contains(*name));
    if config.direct.is_some() {
        let ours = ours.map(|(name, value)| format!("; SET LOCAL {name} = '{value}'")).collect::<String>();
        let pooled = Pooled { begin: format!("BEGIN{ours}").into(), prepared: config.prepared };
        return Ok(Target { server, pooled: Some(pooled) });
    }
    let ours = ours.map(|(name, value)| format!(" -c {name}={value}")).collect::<String>();
    driver.options(format!("{own}{ours}").trim_start());
    Ok(Target { server, pooled: None })
}

/// Like [`bounded`], without bounds on the server's work: a migration may take its time.
///
/// # Errors
/// Fails if the URL cannot be read.
pub(super) fn unbounded(config: &DatabaseConfig, program: &str) -> Result<PostgresServer, ConnectionError> {
    let mut server = config.server().map_err(ConnectionError::InvalidConnectionUrl)?;
    let driver = &mut server.driver;
    if driver.get_application_name().is_none() {
        driver.application_name(program);
    }
    // Each of several servers gets its share of the time. Otherwise a server that does not answer would keep us from
    // the next.
    let servers = driver.get_hosts().len().max(driver.get_hostaddrs().len()).max(1);
    let each = CONNECT / u32::try_from(servers).unwrap_or(u32::MAX);
    let given = driver.get_connect_timeout().copied().unwrap_or(each);
    driver.connect_timeout(given.min(each));
    if driver.get_keepalives_idle() == DRIVERS_KEEPALIVE_IDLE {
        driver.keepalives_idle(KEEPALIVE_IDLE);
    }
    if driver.get_keepalives_interval().is_none() {
        driver.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if driver.get_tcp_user_timeout().is_none() {
        driver.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::Config;

    use super::*;

    fn of(url: &str) -> Config {
        bounded(&DatabaseConfig::at(url.to_owned()), "orderflow @host 1", &[]).expect("a usable URL").server.driver
    }

    #[test]
    fn settings_for_planning_are_added_unless_the_url_has_them() {
        let url = "postgres://localhost/d?options=-c%20jit%3Don".to_owned();
        let config = bounded(&DatabaseConfig::at(url), "orderflow @host 1", &BY_KEY).expect("a usable URL");
        let options = config.server.driver.get_options().expect("some");
        assert!(
            options.starts_with("-c jit=on ") && options.ends_with(" -c plan_cache_mode=force_generic_plan"),
            "{options}"
        );
    }

    /// Settings in the URL take precedence; our bounds apply to the rest.
    #[test]
    fn options_in_the_url_are_combined_with_our_bounds() {
        let ours = "-c statement_timeout=30s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s";
        for (url, expected) in [
            ("postgres://localhost/d", ours.to_owned()),
            ("postgres://localhost/d?options=-c%20work_mem%3D8MB", format!("-c work_mem=8MB {ours}")),
            (
                "postgres://localhost/d?options=--statement-timeout=1min",
                "--statement-timeout=1min -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s".to_owned(),
            ),
        ] {
            assert_eq!(of(url).get_options(), Some(expected.as_str()), "{url}");
        }
    }

    /// A pooler in transaction mode refuses or mixes up what a connection requests at its start.
    #[test]
    fn transactions_ask_for_the_bounds_where_connections_cannot() {
        let url = "postgres://localhost/d?options=-c%20jit%3Don";
        let config = DatabaseConfig { direct: Some(url.into()), ..DatabaseConfig::at(url) };
        let target = bounded(&config, "orderflow @host 1", &BY_KEY[..5]).expect("a usable URL");
        assert_eq!(target.server.driver.get_options(), Some("-c jit=on"));
        let expected = "BEGIN; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '5s'; \
                        SET LOCAL idle_in_transaction_session_timeout = '30s'; SET LOCAL enable_seqscan = 'off'; \
                        SET LOCAL enable_hashjoin = 'off'; SET LOCAL enable_mergejoin = 'off'; SET LOCAL enable_material = 'off'";
        assert_eq!(target.pooled.map(|pooled| pooled.begin), Some(expected.into()));
    }

    #[test]
    fn socket_timeouts_are_in_the_documented_units() {
        let seconds = Duration::from_secs;
        let config = of("postgres://localhost/d");
        assert_eq!(config.get_tcp_user_timeout(), Some(&seconds(15)));
        assert_eq!((config.get_keepalives_idle(), config.get_keepalives_interval()), (seconds(10), Some(seconds(5))));
        assert_eq!(config.get_application_name(), Some("orderflow @host 1"));
        let config = of("postgres://localhost/d?tcp_user_timeout=2000&keepalives_idle=7&application_name=mine");
        assert_eq!((config.get_tcp_user_timeout(), config.get_keepalives_idle()), (Some(&seconds(2)), seconds(7)));
        assert_eq!(config.get_application_name(), Some("mine"));
    }

    /// A server that accepts packets but never answers must leave time for the next one.
    #[test]
    fn several_servers_share_the_time_for_connecting() {
        for (url, expected) in [
            ("postgres://localhost/d", 4),
            ("postgres://localhost/d?connect_timeout=1", 1),
            ("postgres://localhost/d?connect_timeout=60", 4),
            ("postgres://localhost:1,localhost:2/d", 2),
        ] {
            assert_eq!(of(url).get_connect_timeout(), Some(&Duration::from_secs(expected)), "{url}");
        }
    }
}
