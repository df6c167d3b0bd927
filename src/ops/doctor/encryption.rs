//! Reports which connections are encrypted, and how their servers are verified.

use orderflow_service::{
    config::{AdminConfig, BrokerConfig, DatabaseConfig, FrontEndConfig, OwnCa, PlaintextHosts, Source},
    store::{Connection, Protection},
    tls::Verification,
};
use orderflow_worker::providers::{SmtpEncryption, SmtpServerConfig};

use super::report::Checkup;
use crate::ops::words::some;

const CHECK: &str = "encryption";

/// Reports how this check's own connection to the database is protected, whose address is in `setting`.
pub fn database(found: &mut Checkup, setting: &str, connection: &Connection) {
    let how = match connection.protection() {
        Protection::Socket => "not needed on a socket of this machine".to_owned(),
        Protection::Clear => "in clear".to_owned(),
        Protection::Tls { version, verification, roots, has_identity } => {
            let verified = match verification {
                Verification::Nothing => {
                    "the server was not verified, so an attacker could impersonate it: use sslmode=verify-full"
                        .to_owned()
                }
                Verification::Issuer => {
                    format!("the server's certificate is issued by one of {roots}, for any host")
                }
                Verification::IssuerAndHost => {
                    format!("the server's certificate names its host and is issued by one of {roots}")
                }
            };
            let identity = if *has_identity { "; a client certificate is available" } else { "" };
            format!("{version}; {verified}{identity}")
        }
    };
    found.saw(CHECK, format!("{setting}: {how}"));
}

/// Finds servers whose connections are encrypted but not verified.
pub fn unverified(found: &mut Checkup, source: &Source, config: &DatabaseConfig) {
    for (setting, config) in config.addresses() {
        // If the address is invalid, the database's own check reports it.
        let hosts = config.server().map(|server| server.unverified(&PlaintextHosts::read(source))).unwrap_or_default();
        if !hosts.is_empty() {
            found.found(
                CHECK,
                format!(
                    "{setting}: the identity of {} is not verified, since sslmode=require only encrypts: an attacker in between \
                     could read and change everything.",
                    some(&hosts)
                ),
                "use sslmode=verify-full, with sslrootcert=FILE for a CA that this system does not trust; if the server has no \
                 certificate that can be verified, use channel_binding=require",
            );
        }
    }
}

/// Reports the same for the other connections, as their settings require it: no connection is weaker than that.
pub fn others(found: &mut Checkup, source: &Source, broker: Option<(&BrokerConfig, &AdminConfig)>) {
    if let Some((broker, admin)) = broker {
        for node in &broker.nodes {
            let how = demanded(node.is_encrypted(), broker.own_ca.as_ref());
            found.saw(CHECK, format!("AMQP_ADMIN_URL to {}: {how}", node.uri().authority.host));
        }
        let url = &admin.management_url;
        let how = demanded(url.scheme() == "https", admin.own_ca.as_ref());
        found.saw(CHECK, format!("RABBITMQ_MANAGEMENT_URL to {}: {how}", url.host_str().unwrap_or_default()));
    }
    if let Some(mail) = SmtpServerConfig::read(source) {
        let how = match mail.encryption {
            SmtpEncryption::FromTheStart | SmtpEncryption::Required => demanded(true, mail.own_ca.as_ref()),
            SmtpEncryption::WhereOffered => "if the server offers it; the server is not verified".to_owned(),
        };
        found.saw(CHECK, format!("SMTP_URL to {}: {how}", mail.host_name()));
    }
    if let Some(certificate) = source.only_given(FrontEndConfig::certificate) {
        found.saw(CHECK, format!("LISTEN and OPS_LISTEN: TLS; TLS_CERTIFICATE is valid until {}", certificate.until()));
    }
}

fn demanded(is_encrypted: bool, own_ca: Option<&OwnCa>) -> String {
    if !is_encrypted {
        return "in clear".to_owned();
    }
    let own = own_ca.map(|own_ca| format!(" or {own_ca}")).unwrap_or_default();
    format!("TLS; the server's certificate names its host and is issued by one of the CAs that this system{own} trusts")
}
