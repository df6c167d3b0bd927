//! Identifies clients for rate limits: by the peer's address, or by X-Forwarded-For from a trusted proxy.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_web::HttpRequest;
use ipnet::IpNet;
use tokio::time::Instant;

/// The shortest time between two warnings about X-Forwarded-For from an untrusted address. Anyone can send that header,
/// and must not be able to fill the log.
const WARN_EVERY: Duration = Duration::from_secs(600);

const FORWARDED: &str = "x-forwarded-for";

/// Identifies clients by their address. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    trusted: Vec<IpNet>,
    warned: Mutex<Option<Instant>>,
}

impl Clients {
    /// Trusts X-Forwarded-For from these proxies (`TRUSTED_PROXIES`).
    #[must_use]
    pub fn new(trusted: &[IpNet]) -> Self {
        Self(Arc::new(Shared { trusted: trusted.into(), warned: Mutex::new(None) }))
    }

    /// Returns the client's address. An IPv6 address counts as its /64: one household or server has a whole /64, so it
    /// could change its address for every request.
    #[must_use]
    pub fn of(&self, request: &HttpRequest) -> IpAddr {
        // Only requests of unit tests have no peer.
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
        let headers = request.headers();
        if headers.contains_key(FORWARDED) && !trusts(&self.0.trusted, peer) && self.is_time_to_warn() {
            warn(peer);
        }
        let forwarded = headers.get_all(FORWARDED).filter_map(|value| value.to_str().ok());
        client(peer, forwarded, &self.0.trusted)
    }

    fn is_time_to_warn(&self) -> bool {
        let mut warned = self.0.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = warned.is_none_or(|at| at.elapsed() >= WARN_EVERY);
        if is_time {
            *warned = Some(Instant::now());
        }
        is_time
    }
}

/// Logs the warning. A private address is named: it is probably a proxy's. A public one may be a customer's and is not.
fn warn(peer: IpAddr) {
    let is_private = match peer {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_loopback() || address.is_unicast_link_local(),
    };
    tracing::warn!(
        peer = is_private.then(|| tracing::field::display(peer)),
        "X-Forwarded-For is ignored, since TRUSTED_PROXIES does not contain the address that sent it; if that is your \
         proxy, add it, or all its clients count as one"
    );
}

fn trusts(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Returns the last address of the chain that is not one of our proxies. Anyone can make up the addresses before it.
fn client<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let chain: Vec<&str> = forwarded.flat_map(|header| header.split(',')).collect();
    for hop in chain.iter().rev() {
        if !trusts(trusted, client) {
            break;
        }
        let Some(address) = address(hop.trim()) else { break };
        client = address.to_canonical();
    }
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// Parses an address as proxies write it: with or without a port, IPv6 with or without brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|text| text.parse().expect("a network")).collect();
        client(peer.parse().expect("an address"), forwarded.iter().copied(), &trusted).to_string()
    }

    #[test]
    fn a_forwarded_address_counts_only_from_a_trusted_proxy() {
        assert_eq!(seen("192.0.2.1", &["203.0.113.9"], &[]), "192.0.2.1");
        assert_eq!(seen("192.0.2.1", &["203.0.113.9"], &["192.0.2.1/32"]), "203.0.113.9");
        assert_eq!(seen("10.7.0.3", &["203.0.113.9"], &["10.0.0.0/8"]), "203.0.113.9", "an ingress has any address");
        assert_eq!(seen("fd00::7", &["203.0.113.9"], &["fd00::/8"]), "203.0.113.9");
        assert_eq!(seen("::ffff:10.7.0.3", &["203.0.113.9"], &["10.0.0.0/8"]), "203.0.113.9");
        assert_eq!(seen("11.0.0.1", &["203.0.113.9"], &["10.0.0.0/8"]), "11.0.0.1");
    }

    #[test]
    fn addresses_that_a_client_put_before_its_own_are_ignored() {
        let trusted = ["192.0.2.0/24"];
        assert_eq!(seen("192.0.2.1", &["1.1.1.1, 203.0.113.9, 192.0.2.2"], &trusted), "203.0.113.9");
        assert_eq!(seen("192.0.2.1", &["1.1.1.1", "203.0.113.9"], &trusted), "203.0.113.9");
        for nonsense in ["nonsense", "", "203.0.113.9:port", "203.0.113.9:99999", "[203.0.113.9", "1.1.1.1, unknown"] {
            assert_eq!(seen("192.0.2.1", &[nonsense], &trusted), "192.0.2.1", "{nonsense}");
        }
    }

    #[test]
    fn ports_are_stripped_as_some_proxies_add_the_clients_own() {
        let trusted = ["192.0.2.1/32"];
        for (hop, expected) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8:1:2::9]:4711", "2001:db8:1:2::"),
            ("[2001:db8:1:2::9]", "2001:db8:1:2::"),
            ("2001:db8:1:2::9", "2001:db8:1:2::"),
            ("[::ffff:203.0.113.9]:4711", "203.0.113.9"),
            (" 203.0.113.9 , 192.0.2.1:80", "203.0.113.9"),
        ] {
            assert_eq!(seen("192.0.2.1", &[hop], &trusted), expected, "{hop}");
        }
    }

    #[test]
    fn an_ipv6_64_is_one_client_and_a_mapped_address_is_ipv4() {
        assert_eq!(seen("2001:db8:1:2:3:4:5:6", &[], &[]), "2001:db8:1:2::");
        assert_eq!(seen("::ffff:192.0.2.1", &[], &[]), "192.0.2.1");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ignored_forwarded_header_is_logged_once_per_interval() {
        let clients = Clients::new(&[]);
        assert!(clients.is_time_to_warn() && !clients.is_time_to_warn());
        tokio::time::advance(WARN_EVERY).await;
        assert!(clients.is_time_to_warn() && !clients.is_time_to_warn());
    }
}
