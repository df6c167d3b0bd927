//! `PLAINTEXT_HOSTS`

use url::Host;

use super::{
    address::{self, Address},
    setting::{Setting, Source},
};

pub(super) const PLAINTEXT_HOSTS: Setting = Setting {
    name: "PLAINTEXT_HOSTS",
    default: None,
    secret: false,
    meaning: "hosts, separated by commas, that may be reached without encryption because everyone on the network to them is trusted, such as postgres,10.0.0.5; this machine is always permitted; unset: no other, and amqp://, http://, or postgres:// without sslmode=require or stricter is refused for any other host",
};

/// The hosts that may receive passwords and customers' data unencrypted.
#[derive(Debug, Default)]
pub struct PlaintextHosts(Vec<Host<String>>);

impl PlaintextHosts {
    /// Reads its variable. A problem stays with `source`, and then the list is empty.
    pub fn read(source: &Source) -> Self {
        Self(source.parse(&PLAINTEXT_HOSTS, hosts).unwrap_or_default())
    }

    /// Refuses an address without encryption, unless its traffic stays on this machine or its host is listed.
    ///
    /// # Errors
    /// Returns what to change. `encrypted` is the scheme to use instead.
    pub fn permit(&self, source: &Source, by: &Setting, address: &Address, encrypted: &str) -> Result<(), String> {
        if address.encrypted || self.takes(&address.host) {
            source.goes_in_clear(by, &address.host, address.encrypted);
            return Ok(());
        }
        let host = address.host_name();
        Err(format!(
            "expected {encrypted} for a host that is not this machine, because the network to {host} could read and change \
             everything; if you trust everyone on it, add {host} to PLAINTEXT_HOSTS"
        ))
    }

    /// Returns whether this host may be reached without encryption.
    pub fn takes(&self, host: &Host<String>) -> bool {
        address::is_loopback(host) || self.0.iter().any(|named| same(named, host))
    }
}

/// Returns whether two hosts are the same. A trailing dot makes no difference.
fn same(one: &Host<String>, other: &Host<String>) -> bool {
    match (one, other) {
        (Host::Domain(one), Host::Domain(other)) => {
            one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
        }
        _ => one == other,
    }
}

fn hosts(text: &str) -> Result<Vec<Host<String>>, String> {
    text.split(',').map(|one| host(one.trim())).collect()
}

fn host(text: &str) -> Result<Host<String>, String> {
    let wrong = |_| "expected host names or IP addresses, separated by commas, without scheme and port".to_owned();
    // Accepts an IPv6 address without brackets too, as people write it.
    if let Ok(address) = text.parse() {
        return Ok(Host::Ipv6(address));
    }
    address::host(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_one_by_one() {
        let named = PlaintextHosts(hosts("rabbitmq, Postgres.Example.,10.0.0.5,fd00::5,[fd00::6]").expect("a list"));
        for (host, expected) in [
            ("rabbitmq", true),
            ("RABBITMQ", true),
            ("postgres.example", true),
            ("10.0.0.5", true),
            ("[fd00::5]", true),
            ("[fd00::6]", true),
            ("localhost", true),
            ("127.0.0.1", true),
            ("rabbitmq.example", false),
            ("example", false),
            ("10.0.0.50", false),
            ("[fd00::7]", false),
        ] {
            assert_eq!(named.takes(&address::host(host).expect(host)), expected, "{host}");
        }
    }

    #[test]
    fn invalid_host_is_refused() {
        for text in [",", "rabbitmq,", "http://rabbitmq", "rabbitmq:5672", "10.0.0.0/8", "*", "*.example", "a b"] {
            assert!(hosts(text).is_err(), "{text:?}");
        }
    }
}
