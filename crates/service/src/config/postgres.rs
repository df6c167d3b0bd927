//! Reads an address of PostgreSQL with the driver's own parser, then refuses what cannot work.

use std::{collections::BTreeSet, time::Duration};

use secrecy::SecretString;
use tokio_postgres::{
    Config,
    config::{ChannelBinding, Host, TargetSessionAttrs},
};

use super::{
    address,
    plaintext::PlaintextHosts,
    postgres_tls::PostgresTls,
    setting::{Setting, Source},
};
use crate::tls::Verification;

/// The parts of an address of PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresServer {
    /// Everything except encryption, as the driver takes it.
    pub driver: Config,
    /// Encryption, which we handle instead of the driver.
    pub tls: PostgresTls,
}

impl PostgresServer {
    /// Returns the hosts that are encrypted but not verified: someone in between could answer in their place. Excludes
    /// hosts that may be reached without encryption anyway. Returns none with channel binding, because the server then
    /// proves that it knows the password's verifier.
    #[must_use]
    pub fn unverified(&self, permitted: &PlaintextHosts) -> Vec<String> {
        let is_bound = self.driver.get_channel_binding() == ChannelBinding::Require;
        if !self.tls.is_required() || self.tls.client.verification != Verification::Nothing || is_bound {
            return Vec::new();
        }
        // The address was validated at the start.
        let hosts = reached(&self.driver).unwrap_or_default();
        let others = hosts.iter().filter(|host| !host.is_permitted(permitted));
        others.map(|host| address::name(&host.at)).collect()
    }
}

/// A host of an address.
struct Reached {
    /// The name as written, if any.
    named: Option<url::Host<String>>,
    /// The host to connect to.
    at: url::Host<String>,
}

impl Reached {
    fn is_permitted(&self, permitted: &PlaintextHosts) -> bool {
        let by_name = self.named.as_ref().is_some_and(|name| !address::is_loopback(name) && permitted.takes(name));
        by_name || permitted.takes(&self.at)
    }
}

/// Returns the hosts of an address, without sockets of this machine.
fn reached(config: &Config) -> Result<Vec<Reached>, String> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let mut found = Vec::new();
    for index in 0..hosts.len().max(addresses.len()) {
        let named = match hosts.get(index) {
            Some(Host::Unix(_)) if addresses.is_empty() => continue,
            Some(Host::Tcp(name)) => Some(tcp(name)?),
            _ => None,
        };
        // With both, the client connects to the address; people know the server by the name.
        let at = match addresses.get(index) {
            Some(std::net::IpAddr::V4(address)) => Some(url::Host::Ipv4(*address)),
            Some(std::net::IpAddr::V6(address)) => Some(url::Host::Ipv6(*address)),
            None => named.clone(),
        };
        found.extend(at.map(|at| Reached { named, at }));
    }
    Ok(found)
}

/// Parses a URL, or a list of `key=value`.
///
/// # Errors
/// Returns what is wrong, without secrets.
pub(super) fn parse(text: &str) -> Result<PostgresServer, String> {
    let form = "expected the form postgres://USER:PASSWORD@HOST:5432/DATABASE";
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    match scheme {
        "postgres" | "postgresql" => each_once(rest)?,
        // The driver parses everything else as a list of key=value, and would quote a password as an unknown key.
        _ if is_list(text) => {}
        _ => return Err(form.to_owned()),
    }
    let (tls, rest) = PostgresTls::take(text)?;
    let mut driver: Config = rest.parse().map_err(|error| match std::error::Error::source(&error) {
        Some(why) => format!("{form}: {why}"),
        None => format!("{form}: {error}"),
    })?;
    // PostgreSQL documents milliseconds; the driver (tokio-postgres 0.7.18) reads the number as seconds.
    if let Some(given) = driver.get_tcp_user_timeout() {
        let given = Duration::from_millis(given.as_secs());
        driver.tcp_user_timeout(given);
    }
    tls.check(&driver)?;
    check(&driver)?;
    Ok(PostgresServer { driver, tls })
}

/// Refuses what the driver accepts but cannot do, or checks only when it connects.
fn check(config: &Config) -> Result<(), String> {
    if config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
        return Err(
            "target_session_attrs: expected read-write or any, because nothing here works on a replica".to_owned()
        );
    }
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    if hosts.is_empty() && addresses.is_empty() {
        return Err("expected a host: HOST, or a socket directory such as ?host=/var/run/postgresql".to_owned());
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err("hostaddr: expected one per host".to_owned());
    }
    if ports.len() > 1 && ports.len() != hosts.len().max(addresses.len()) {
        return Err("port: expected one, or one per host".to_owned());
    }
    if ports.contains(&0) {
        return Err("port: expected 1 to 65535".to_owned());
    }
    for host in hosts {
        match host {
            Host::Tcp(name) => drop(tcp(name)?),
            Host::Unix(_) => {}
        }
    }
    set_by(config.get_options().unwrap_or_default()).map(drop)
}

/// Parses a host as the driver returns it: an IPv6 address without brackets.
fn tcp(name: &str) -> Result<url::Host<String>, String> {
    let in_brackets = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let wrong = |why| {
        format!(
            "expected the form postgres://USER:PASSWORD@HOST:5432/DATABASE: {why}; write @, / and : in a password as %40, %2F and %3A"
        )
    };
    let host = address::host(&in_brackets).map_err(wrong)?;
    // The driver resolves the name as it is written here, even if the `url` crate reads another one.
    match &host {
        url::Host::Domain(read) if !read.eq_ignore_ascii_case(name) => {
            Err("expected a host in ASCII, as DNS has it: xn--mller-kva.example instead of müller.example".to_owned())
        }
        _ => Ok(host),
    }
}

/// Refuses servers without required encryption, unless they are this machine or listed.
///
/// # Errors
/// Returns what to change.
pub(super) fn permit(
    server: &PostgresServer,
    permitted: &PlaintextHosts,
    source: &Source,
    by: &Setting,
) -> Result<(), String> {
    if server.tls.is_required() {
        return Ok(());
    }
    let mode = server.tls.mode;
    for host in reached(&server.driver)? {
        if !host.is_permitted(permitted) {
            let host = address::name(&host.at);
            return Err(format!(
                "expected sslmode=verify-full for a host that is not this machine: sslmode={mode} (prefer if not set) allows an unencrypted \
                 connection, and the network to {host} could read and change everything. \
                 With your own CA add sslrootcert=FILE; if you trust everyone on that network, add {host} to PLAINTEXT_HOSTS instead"
            ));
        }
        source.goes_in_clear(by, &host.at, false);
    }
    Ok(())
}

/// Refuses repeated parameters: the driver adds a second host or port to the first, and uses the last value of any
/// other parameter.
fn each_once(rest: &str) -> Result<(), String> {
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut seen = BTreeSet::new();
    let (authority, database) = before.split_once('/').unwrap_or((before, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    for (name, is_given) in [
        ("user", !user.is_empty()),
        ("password", user.contains(':')),
        ("host", !host.is_empty()),
        ("port", !host.is_empty()),
        ("dbname", !database.is_empty()),
    ] {
        if is_given {
            seen.insert(name.to_owned());
        }
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name).to_owned();
        if seen.contains(&name) {
            return Err(format!("{} is given twice; expected it once", address::shown(&name)));
        }
        seen.insert(name);
    }
    Ok(())
}

/// Returns whether the text begins like a list of `key=value`.
fn is_list(text: &str) -> bool {
    let key = text.split_once('=').map_or("", |(key, _)| key.trim());
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Returns the names of the server parameters that `options` sets, in lower case with underscores.
///
/// # Errors
/// Fails if it is not a list of `-c NAME=VALUE` or `--NAME=VALUE`: the server would refuse every connection.
pub fn set_by(options: &str) -> Result<BTreeSet<String>, String> {
    let expected = || "options: expected -c NAME=VALUE or --NAME=VALUE, separated by spaces written as %20".to_owned();
    let mut words = words(options).into_iter();
    let mut names = BTreeSet::new();
    while let Some(word) = words.next() {
        let pair = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(pair), _) => pair.to_owned(),
            (None, Some("")) => words.next().ok_or_else(expected)?,
            (None, Some(pair)) => pair.to_owned(),
            (None, None) => return Err(expected()),
        };
        let name = pair.split_once('=').ok_or_else(expected)?.0.to_ascii_lowercase().replace('-', "_");
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(expected());
        }
        names.insert(name);
    }
    Ok(names)
}

/// Splits `options` as the server does: at spaces that no backslash precedes.
fn words(options: &str) -> Vec<String> {
    let (mut words, mut word, mut escaped) = (Vec::new(), String::new(), false);
    for letter in options.chars() {
        match letter {
            _ if escaped => {
                word.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            _ if letter.is_ascii_whitespace() => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the URL as a secret, because it contains the password.
pub(super) fn url(
    text: &str,
    permitted: &PlaintextHosts,
    source: &Source,
    by: &Setting,
) -> Result<SecretString, String> {
    permit(&parse(text)?, permitted, source, by)?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PostgresServer, String> {
        let permitted =
            PlaintextHosts::read(&[("PLAINTEXT_HOSTS".to_owned(), "db,10.0.0.5".to_owned())].into_iter().collect());
        let server = parse(text)?;
        permit(&server, &permitted, &Source::default(), &crate::config::database::DATABASE_URL)?;
        Ok(server)
    }

    /// Accepts what tokio-postgres can do: several servers tried in turn, sockets, and the list form of libpq.
    #[test]
    fn everything_the_driver_can_do_is_accepted() {
        let socket = || Host::Unix("/var/run/postgresql".into());
        let tcp = |name: &str| Host::Tcp(name.to_owned());
        for (text, hosts, ports) in [
            ("postgres://u:p@db:5433/d", vec![tcp("db")], vec![5433]),
            ("postgresql://u:p@db/d", vec![tcp("db")], vec![5432]),
            (
                "postgres://u:p@db:1,127.0.0.1:2/d?target_session_attrs=read-write",
                vec![tcp("db"), tcp("127.0.0.1")],
                vec![1, 2],
            ),
            ("postgres://u:p@[::1]:2,localhost/d", vec![tcp("::1"), tcp("localhost")], vec![2, 5432]),
            ("postgres://u:p@%2Fvar%2Frun%2Fpostgresql/d", vec![socket()], vec![5432]),
            ("postgres:///d?host=/var/run/postgresql", vec![socket()], vec![]),
            ("postgres:///d?host=%2Fvar%2Frun%2Fpostgresql&port=5433&user=u", vec![socket()], vec![5433]),
            ("host=/var/run/postgresql user=u dbname=d", vec![socket()], vec![]),
            (
                "host=db,127.0.0.1 port=1,2 user=u password='p w' dbname=d",
                vec![tcp("db"), tcp("127.0.0.1")],
                vec![1, 2],
            ),
            (
                "postgres://u:p%40w@db/d?sslmode=prefer&connect_timeout=3&application_name=x&keepalives=0",
                vec![tcp("db")],
                vec![5432],
            ),
        ] {
            let config = read(text).unwrap_or_else(|why| panic!("{text}: {why}")).driver;
            assert_eq!((config.get_hosts(), config.get_ports()), (&hosts[..], &ports[..]), "{text}");
        }
        // PostgreSQL documents milliseconds.
        let config = read("postgres://u:p@db/d?tcp_user_timeout=2500").expect("a valid URL").driver;
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(2500)));
        // People know the server by its name; the client connects to the address.
        read("host=db hostaddr=10.9.9.9 user=u").expect("db is listed");
        read("host=elsewhere hostaddr=10.0.0.5 user=u").expect("10.0.0.5 is listed");
        // The forms that hosted databases come with.
        for parameters in
            ["sslmode=require", "sslmode=require&channel_binding=require", "sslmode=require&sslnegotiation=direct"]
        {
            let server = read(&format!("postgres://u:p@elsewhere/d?{parameters}")).expect(parameters);
            assert!(server.tls.is_required(), "{parameters}");
        }
    }

    #[test]
    fn unusable_address_is_refused_by_name_and_without_the_password() {
        for (text, why) in [
            ("mysql://u:hush@db/d", "postgres://USER"),
            ("mysql://u:hush@db/d?a=b", "postgres://USER"),
            ("postgres:/u:hush@db/d?a=b", "postgres://USER"),
            ("u:hush@db/d", "postgres://USER"),
            ("postgres://u:hush@db/d?conect_timeout=3", "conect_timeout"),
            ("postgres://u:hush@db/d?sslrootcert=/ca.pem", "sslrootcert"),
            ("postgres://u:hush@db/d?sslcrl=/ca.crl", "sslcrl"),
            ("postgres://u:hush@db/d?pgbouncer=true", "pgbouncer"),
            ("postgres://u:hush@db/d?connect_timeout=soon", "connect_timeout"),
            ("postgres://u:hush@db/d?sslmode=allow", "sslmode"),
            ("postgres://u:hush@db/d?sslmode=require&sslmode=disable", "sslmode is given twice"),
            ("postgres://u:hush@db/d?sslnegotiation=direct", "sslmode=verify-full"),
            ("postgres://u:hush@db/d?channel_binding=require&sslmode=prefer", "not prefer"),
            ("postgres://u:hush@db/d?target_session_attrs=read-only", "target_session_attrs"),
            ("postgres://u:hush@db/d?target_session_attrs=primary", "target_session_attrs"),
            ("postgres://u:hush@db/d?host=/var/run/postgresql", "host is given twice"),
            ("postgres://u:hush@db/d?port=5433", "port is given twice"),
            ("postgres://u:hush@db/d?connect_timeout=3&connect_timeout=4", "connect_timeout is given twice"),
            ("postgres://u:hush@db/d?options=statement_timeout%3D1s", "options"),
            ("postgres://u:hush@db/d?options=-c+statement_timeout%3D1s", "options"),
            ("postgres://u:hush@db:0/d", "port"),
            ("postgres://u:hush@db:70000/d", "port"),
            ("postgres:///d", "expected a host"),
            ("postgres://u:h@ush@db/d", "%40"),
            ("postgres://u:hush@müller.example/d", "in ASCII"),
            ("postgres://u:hush@d\u{200b}b/d", "in ASCII"),
            ("postgres://u:hush@d%2562/d", "in ASCII"),
            ("postgres://u:hush@d\tb/d", "neither a name"),
            ("postgres://u:hush@d b/d", "neither a name"),
            ("postgres://u:hush@db\\x/d", "neither a name"),
            ("dbname=d user=u", "expected a host"),
            ("host=db,db port=1,2,3", "port"),
            ("host=db hostaddr=10.0.0.5,10.0.0.6", "hostaddr"),
            ("host=db sslrootcert=x", "sslrootcert"),
            ("postgres://u:hush@elsewhere/d", "add elsewhere to PLAINTEXT_HOSTS"),
            ("postgres://u:hush@db,elsewhere/d", "add elsewhere to PLAINTEXT_HOSTS"),
            ("postgres://u:hush@elsewhere/d", "sslmode=prefer (prefer if not set) allows"),
            ("postgres://u:hush@elsewhere/d?sslmode=disable", "expected sslmode=verify-full"),
            ("host=localhost hostaddr=10.9.9.9 user=u", "add 10.9.9.9 to PLAINTEXT_HOSTS"),
        ] {
            let refused = read(text).err().unwrap_or_else(|| panic!("{text} was accepted"));
            assert!(refused.contains(why) && !refused.contains("hush"), "{text}: {refused}");
            assert!(refused.contains("expected"), "{text}: {refused}");
        }
    }

    #[test]
    fn options_are_split_as_the_server_splits_them() {
        let set = |options: &str| set_by(options).map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
        for (options, expected) in [
            ("", ""),
            ("-c lock_timeout=1s", "lock_timeout"),
            ("-clock_timeout=1s  --Statement-Timeout=2s", "lock_timeout statement_timeout"),
            (r"-c search_path=a\ b,c -c app.x=1", "app.x search_path"),
        ] {
            assert_eq!(set(options), Ok(expected.to_owned()), "{options}");
        }
        for wrong in ["-c", "-e", "x", "-c a", "--a", "-c =1", r"-c a\ b=1"] {
            assert!(set(wrong).is_err(), "{wrong}");
        }
    }
}
