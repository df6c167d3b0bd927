//! Finds certificates that are about to expire: the front end's own, and those that servers present.

use std::{collections::BTreeSet, io, net::IpAddr};

use chrono::Utc;
use futures::future::join_all;
use orderflow_service::{
    config::{AdminConfig, BrokerConfig, DatabaseConfig, FrontEndConfig, Source, SslMode},
    tls::{self, Opening, Validity},
};
use tokio_postgres::config::Host;

use super::report::Checkup;

const CHECK: &str = "certificates";

/// PostgreSQL's default port.
const POSTGRES: u16 = 5432;

/// AMQP's default port with TLS.
const AMQPS: u16 = 5671;

/// A server that presents a certificate.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Peer {
    host: String,
    /// Its address, if it differs from what its name resolves to.
    at: Option<IpAddr>,
    port: u16,
    opening: Opening,
    setting: &'static str,
}

impl Peer {
    async fn shown(&self) -> io::Result<Validity> {
        let at = self.at.map_or_else(|| self.host.clone(), |at| at.to_string());
        tls::shown(&self.host, (&at, self.port), self.opening).await
    }
}

/// Reports the certificates that are about to expire, and how long the others are valid. Skips servers that present
/// none: other checks report what is wrong with them.
pub async fn check(
    found: &mut Checkup,
    source: &Source,
    database: Option<&DatabaseConfig>,
    broker: Option<(&BrokerConfig, &AdminConfig)>,
) {
    if let Some(own) = source.only_given(FrontEndConfig::certificate).and_then(|own| own.validity()) {
        let ends = "browsers and programs refuse the shop from then on";
        let remedy = "renew it; front ends reload the files automatically";
        judge(found, "TLS_CERTIFICATE", own, ends, remedy);
    }
    let addresses = database.map(DatabaseConfig::addresses).unwrap_or_default();
    let mut peers: BTreeSet<Peer> =
        addresses.into_iter().flat_map(|(setting, config)| databases(setting, &config)).collect();
    peers.extend(broker.into_iter().flat_map(|(broker, admin)| brokers(broker, admin)));
    let shown = join_all(peers.iter().map(Peer::shown)).await;
    for (peer, validity) in peers.iter().zip(shown).filter_map(|(peer, shown)| Some((peer, shown.ok()?))) {
        let whose = format!("the certificate of {}:{} ({})", peer.host, peer.port, peer.setting);
        judge(found, &whose, validity, "programs that verify it cannot connect from then on", "renew it there");
    }
}

fn judge(found: &mut Checkup, whose: &str, validity: Validity, ends: &str, remedy: &str) {
    let (now, day) = (Utc::now(), validity.last_day());
    if !validity.is_ending(now) {
        found.saw(CHECK, format!("{whose} is valid until {day}"));
        return;
    }
    let verb = if validity.until < now { "ended" } else { "ends" };
    found.found(CHECK, format!("{whose} {verb} on {day}: {ends}."), remedy);
}

fn databases(setting: &'static str, config: &DatabaseConfig) -> BTreeSet<Peer> {
    // An unreadable address has been reported already.
    let Ok(server) = config.server() else { return BTreeSet::new() };
    if server.tls.mode == SslMode::Disable {
        return BTreeSet::new();
    }
    let ports = server.driver.get_ports();
    let hosts = server.driver.get_hosts().iter().enumerate();
    let peer = |(index, host): (usize, &Host)| match host {
        Host::Tcp(name) => {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(POSTGRES);
            let at = server.driver.get_hostaddrs().get(index).copied();
            Some(Peer { host: name.clone(), at, port, opening: Opening::Postgres, setting })
        }
        Host::Unix(_) => None,
    };
    hosts.filter_map(peer).collect()
}

fn brokers(broker: &BrokerConfig, admin: &AdminConfig) -> Vec<Peer> {
    let nodes = broker.nodes.iter().filter(|node| node.is_encrypted()).map(|node| {
        let authority = &node.uri().authority;
        (authority.host.clone(), if authority.port == 0 { AMQPS } else { authority.port }, "AMQP_ADMIN_URL")
    });
    let url = &admin.management_url;
    let host = url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned());
    let management = host.zip(url.port_or_known_default()).filter(|_| url.scheme() == "https");
    let management = management.map(|(host, port)| (host, port, "RABBITMQ_MANAGEMENT_URL"));
    let peer = |(host, port, setting)| Peer { host, at: None, port, opening: Opening::AtOnce, setting };
    nodes.chain(management).map(peer).collect()
}
