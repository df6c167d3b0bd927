//! `LISTEN`, `OPS_LISTEN`, `TLS_CERTIFICATE`, `TLS_KEY`, `PUBLIC_URL`, `TOKEN_SECRET`, `RATE_LIMIT`, `TRUSTED_PROXIES`,
//! `ADMISSION_MAX_OUTBOX_AGE`, `ADMISSION_MAX_OUTBOX_ROWS`, `LIVE_WATCHERS`

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::{
    address::{Address, Form, HTTP, Query},
    plaintext::PlaintextHosts,
    setting::{self, Setting, Source},
};
use crate::{listen::Listen, tls::ServerCertificate};

pub(super) const LISTEN: Setting = Setting {
    name: "LISTEN",
    default: Some("127.0.0.1:8080"),
    secret: false,
    meaning: "where `orderflow serve` listens; port 0 chooses a free one",
};
pub(super) const OPS_LISTEN: Setting = Setting {
    name: "OPS_LISTEN",
    default: Some("127.0.0.1:8082"),
    secret: false,
    meaning: "where `orderflow serve` answers operators: /metrics, /admin and /ops; not for customers; if unset and port 8082 is in use, a free port is chosen and logged",
};
pub(super) const TLS_CERTIFICATE: Setting = Setting {
    name: "TLS_CERTIFICATE",
    default: None,
    secret: false,
    meaning: "a PEM file with the certificate that `orderflow serve` presents at LISTEN and OPS_LISTEN, followed by the chain to its CA; a renewed file is in use ten seconds later, without a restart; unset: both answer without TLS, for a proxy that encrypts",
};
pub(super) const TLS_KEY: Setting = Setting {
    name: "TLS_KEY",
    default: None,
    secret: false,
    meaning: "a PEM file with the private key of TLS_CERTIFICATE, without a password",
};
pub(super) const PUBLIC_URL: Setting = Setting {
    name: "PUBLIC_URL",
    default: Some("http://127.0.0.1:8080"),
    secret: false,
    meaning: "the shop's address as customers see it, such as https://shop.example, without a path; links in answers and mails begin with it; http:// only for this machine and hosts in PLAINTEXT_HOSTS",
};
pub(super) const TOKEN_SECRET: Setting = Setting::secret(
    "TOKEN_SECRET",
    "signs the tokens that open an order: at least 32 characters; of several, separated by commas, the first signs and all verify",
);
pub(super) const RATE_LIMIT: Setting = Setting {
    name: "RATE_LIMIT",
    // A customer places at most one order every few minutes. Bursts of thirty leave room for an office or a mobile
    // network behind one address. A client that orders for many people, such as a shop's own server, needs more.
    default: Some("30"),
    secret: false,
    meaning: "new orders that one client address (for IPv6: one /64) may place per minute at one `orderflow serve`, with bursts up to that number; further ones get 429; 0: no limit",
};
pub(super) const TRUSTED_PROXIES: Setting = Setting {
    name: "TRUSTED_PROXIES",
    default: None,
    secret: false,
    meaning: "addresses and ranges, separated by commas, of the proxies whose X-Forwarded-For names the client: 10.0.0.0/8,2001:db8::7",
};
pub(super) const ADMISSION_MAX_OUTBOX_AGE: Setting = Setting {
    name: "ADMISSION_MAX_OUTBOX_AGE",
    default: Some("15m"),
    secret: false,
    meaning: "orders are refused with 503 while an event of the order service (`order.*`) has waited longer than this for the broker",
};
pub(super) const ADMISSION_MAX_OUTBOX_ROWS: Setting = Setting {
    name: "ADMISSION_MAX_OUTBOX_ROWS",
    default: Some("200000"),
    secret: false,
    meaning: "orders are refused with 503 while more events of the order service (`order.*`) than this wait for the broker",
};
pub(super) const LIVE_WATCHERS: Setting = Setting {
    name: "LIVE_WATCHERS",
    default: Some("10000"),
    secret: false,
    meaning: "the most clients that may watch orders at /orders/{id}/live of one `orderflow serve`; each takes a connection and about 17 kB",
};

/// Pages, cookies and links use paths from the root, so the shop cannot live below a path.
const SHOP: Form =
    Form { schemes: HTTP, shown: "https://shop.example", credentials: false, path: false, query: Query::Only(&[]) };

/// When to refuse new orders because earlier ones are not reaching the broker.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// The longest that an event may have waited in the outbox.
    pub max_outbox_age: Duration,
    /// The most events that may wait in the outbox.
    pub max_outbox_rows: i64,
}

/// The settings for making and checking a link that opens an order.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The shop's address as customers see it.
    pub public_url: Url,
    /// The secrets: the first signs, all verify; never empty.
    pub token_secrets: Vec<SecretString>,
}

/// The settings that every part of a front end needs.
#[derive(Debug, Clone)]
pub struct FrontEndConfig {
    /// The address for operators and Prometheus.
    pub ops_listen: Listen,
    /// The certificate that it presents; `None`: it answers without TLS.
    pub certificate: Option<Arc<ServerCertificate>>,
    /// Links and tokens. The secrets also sign operators' sessions.
    pub links: LinkConfig,
    /// The proxies whose X-Forwarded-For is trusted.
    pub trusted_proxies: Vec<IpNet>,
}

/// The settings of the shop.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// The settings that the console needs too.
    pub front_end: FrontEndConfig,
    /// When to refuse new orders.
    pub admission: Admission,
    /// The orders that one client address may place per minute; `None`: no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// The most clients that may watch orders.
    pub live_watchers: usize,
}

impl Admission {
    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let max_outbox_age = source.parse(&ADMISSION_MAX_OUTBOX_AGE, setting::duration);
        let max_outbox_rows = source.parse(&ADMISSION_MAX_OUTBOX_ROWS, |text| setting::number(text, 1, 10_000_000));
        Some(Self { max_outbox_age: max_outbox_age?, max_outbox_rows: max_outbox_rows? })
    }
}

impl LinkConfig {
    /// Its variables.
    pub const SETTINGS: &'static [&'static Setting] = &[&PUBLIC_URL, &TOKEN_SECRET];

    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let public_url = source.parse(&PUBLIC_URL, |text| {
            let address = Address::parse(text, &SHOP)?;
            permitted.permit(source, &PUBLIC_URL, &address, "https://")?;
            Ok(address.url)
        });
        // 32 characters: the output size of HMAC-SHA256, the minimum key length that RFC 2104 recommends.
        let token_secrets = source.require(&TOKEN_SECRET, |text| {
            let secrets: Vec<_> = text.split(',').map(str::trim).collect();
            if secrets.iter().any(|secret| secret.len() < 32) {
                return Err(
                    "expected at least 32 characters in each secret, such as from `openssl rand -hex 32`".to_owned()
                );
            }
            Ok(secrets.into_iter().map(SecretString::from).collect())
        });
        Some(Self { public_url: public_url?, token_secrets: token_secrets? })
    }
}

impl FrontEndConfig {
    /// Reads `TLS_CERTIFICATE` and `TLS_KEY` with both files, if they are set. Problems are collected in `source`.
    #[must_use]
    pub fn certificate(source: &Source) -> Option<Arc<ServerCertificate>> {
        let key = source.text(&TLS_KEY);
        if source.text(&TLS_CERTIFICATE).is_none() {
            if let Some(key) = &key {
                source.problem(format!("{} is {key:?}; with it {} has to be set", TLS_KEY.name, TLS_CERTIFICATE.name));
            }
            return None;
        }
        let key = source.needed(key, &TLS_CERTIFICATE, &TLS_KEY)?;
        source.parse(&TLS_CERTIFICATE, |certificate| {
            let loaded = ServerCertificate::load(Path::new(certificate), Path::new(&key));
            loaded.map(Arc::new).map_err(|error| format!("expected the certificate of TLS_KEY: {error}"))
        })
    }

    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let ops_listen = setting::listen(source, &OPS_LISTEN);
        let links = LinkConfig::read(source);
        let certificate = Self::certificate(source);
        if certificate.is_some()
            && let Some(links) = links.as_ref().filter(|links| links.public_url.scheme() != "https")
        {
            let (public, by) = (&links.public_url, TLS_CERTIFICATE.name);
            source.problem(format!("{} is \"{public}\"; with {by} expected https://", PUBLIC_URL.name));
        }
        let trusted_proxies = match source.text(&TRUSTED_PROXIES) {
            None => Some(Vec::new()),
            Some(_) => source.parse(&TRUSTED_PROXIES, |text| text.split(',').map(network).collect()),
        };
        Some(Self { ops_listen: ops_listen?, certificate, links: links?, trusted_proxies: trusted_proxies? })
    }
}

impl WebConfig {
    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let listen = source.parse(&LISTEN, setting::address);
        let front_end = FrontEndConfig::read(source);
        refuse_one_address_for_both(source, listen, setting::listen(source, &OPS_LISTEN));
        let admission = Admission::read(source);
        let live_watchers = source.parse(&LIVE_WATCHERS, |text| setting::number(text, 1, 100_000));
        let rate_limit = source.parse(&RATE_LIMIT, |text| setting::number(text, 0, 1_000_000));
        Some(Self {
            listen: listen?,
            front_end: front_end?,
            admission: admission?,
            rate_limit: NonZeroU32::new(rate_limit?),
            live_watchers: live_watchers?,
        })
    }
}

/// Refuses one address for both listeners: the second would fail and end `orderflow serve`.
fn refuse_one_address_for_both(source: &Source, listen: Option<SocketAddr>, ops_listen: Option<Listen>) {
    let (Some(listen), Some(Listen { address: ops, is_chosen: true, .. })) = (listen, ops_listen) else { return };
    let is_all = |one: SocketAddr, other: SocketAddr| one.ip().is_unspecified() && one.is_ipv4() == other.is_ipv4();
    if listen.port() == ops.port()
        && ops.port() != 0
        && (listen.ip() == ops.ip() || is_all(listen, ops) || is_all(ops, listen))
    {
        source.problem(format!("{} is \"{ops}\"; expected a port other than that of {}", OPS_LISTEN.name, LISTEN.name));
    }
}

/// Parses an address or a range. Refuses a range of all addresses: any client could then claim any address.
fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => {
            Err("expected IPv4 addresses in their own form: 10.0.0.0/8".to_owned())
        }
        Ok(network) if network.prefix_len() > 0 => Ok(network.trunc()),
        _ => Err("expected IP addresses or ranges such as 10.0.0.0/8, separated by commas".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<String, String> {
        let settings = [
            ("PUBLIC_URL", url),
            ("TOKEN_SECRET", "a secret of 32 characters or more"),
            ("PLAINTEXT_HOSTS", "shop.lan"),
        ];
        let source: Source = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let read = LinkConfig::read(&source);
        source.finish(read).map(|links| links.public_url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn public_url_is_an_address_that_links_can_begin_with() {
        for (url, expected) in [
            ("https://shop.example", "https://shop.example/"),
            ("https://shop.example/", "https://shop.example/"),
            ("https://Müller.example:8443", "https://xn--mller-kva.example:8443/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://localhost", "http://localhost/"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
            ("http://shop.lan:8080", "http://shop.lan:8080/"),
        ] {
            assert_eq!(read(url).as_deref(), Ok(expected), "{url}");
        }
    }

    /// Below a path or with a query, every link would be broken. Over plain HTTP browsers drop `Secure` cookies, and
    /// without the cookie a customer does not see the order that was just charged.
    #[test]
    fn public_url_that_breaks_links_or_cookies_is_refused() {
        for (url, why) in [
            ("https://shop.example/shop", "path"),
            ("https://shop.example?a=b", "a is not a parameter"),
            ("https://shop.example/#a", "#"),
            ("https://ada:hush@shop.example", "without user and password"),
            ("https://hush@shop.example", "user without a password"),
            ("https://shop.example:0", "port 0"),
            ("http://shop.example", "add shop.example to PLAINTEXT_HOSTS"),
            ("http://10.0.0.1:8080", "add 10.0.0.1 to PLAINTEXT_HOSTS"),
            ("https:\\\\shop.example", "percent-encoded"),
            ("https:///shop.example", "no host"),
            ("https:/shop.example", "no host"),
            ("https:shop.example", "no host"),
            ("https://shop.example/.", ". or .."),
            ("https://shop.example?", "nothing follows its ?"),
            ("shop.example", "https://shop.example"),
            ("ftp://shop.example", "https://shop.example"),
        ] {
            let refused = read(url).expect_err(url);
            assert!(refused.starts_with("PUBLIC_URL") && refused.contains("expected"), "{url}: {refused}");
            assert!(refused.contains(why) && !refused.contains("hush"), "{url}: {refused}");
        }
    }

    #[test]
    fn customers_and_operators_need_different_ports() {
        let read = |listen: &str, ops: &str| {
            let settings =
                [("TOKEN_SECRET", "a secret of 32 characters or more"), ("LISTEN", listen), ("OPS_LISTEN", ops)];
            let source: Source =
                settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
            let read = WebConfig::read(&source);
            source.finish(read).map(drop).map_err(|error| error.to_string())
        };
        for (listen, ops) in [
            ("127.0.0.1:8080", "127.0.0.1:8081"),
            ("127.0.0.1:8080", "127.0.0.2:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            // The default was not chosen explicitly, so any free port will do.
            ("127.0.0.1:8082", ""),
        ] {
            assert_eq!(read(listen, ops), Ok(()), "{listen} {ops}");
        }
        for (listen, ops) in
            [("127.0.0.1:8080", "127.0.0.1:8080"), ("0.0.0.0:8080", "127.0.0.1:8080"), ("[::1]:8080", "[::]:8080")]
        {
            let refused = read(listen, ops).expect_err(ops);
            assert!(refused.starts_with("OPS_LISTEN") && refused.contains("expected"), "{refused}");
        }
    }

    #[test]
    fn proxies_are_addresses_or_ranges() {
        let read = |text: &str| network(text).map(|network| network.to_string());
        assert_eq!(read(" 192.0.2.7"), Ok("192.0.2.7/32".to_owned()));
        assert_eq!(read("10.1.2.3/8"), Ok("10.0.0.0/8".to_owned()));
        assert_eq!(read("2001:db8::7"), Ok("2001:db8::7/128".to_owned()));
        assert_eq!(read("fd00::/8"), Ok("fd00::/8".to_owned()));
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0.0/", "192.0.2.7:80", "0.0.0.0/0", "::/0", "::ffff:10.0.0.1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
