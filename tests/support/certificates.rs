//! Certificates from a test's own CAs, for any host and validity period.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::Datelike as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// A CA.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// Creates a CA. Two CAs with the same name have different keys.
    ///
    /// # Panics
    /// Panics if the CA cannot be created.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("it signs itself").pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Returns the CA's own certificate, in PEM; clients need it to trust the CA.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a server certificate for these hosts (names or addresses).
    #[must_use]
    pub fn server(&self, hosts: &[&str]) -> Issued {
        self.issue(params(hosts, ExtendedKeyUsagePurpose::ServerAuth))
    }

    /// Like [`Authority::server`], but the certificate has already expired.
    #[must_use]
    pub fn expired(&self, hosts: &[&str]) -> Issued {
        let mut params = params(hosts, ExtendedKeyUsagePurpose::ServerAuth);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 12, 31);
        self.issue(params)
    }

    /// Like [`Authority::server`], but the certificate is valid for 90 days and expires in `days_left` days.
    #[must_use]
    pub fn ending(&self, hosts: &[&str], days_left: i64) -> Issued {
        let mut params = params(hosts, ExtendedKeyUsagePurpose::ServerAuth);
        let end = chrono::Utc::now() + chrono::TimeDelta::days(days_left);
        let day = |time: chrono::DateTime<chrono::Utc>| {
            let number = |digits: u32| u8::try_from(digits).expect("a month and a day are small");
            date_time_ymd(time.year(), number(time.month()), number(time.day()))
        };
        params.not_before = day(end - chrono::TimeDelta::days(90));
        params.not_after = day(end);
        self.issue(params)
    }

    /// Issues a client certificate with the common name `user`, which PostgreSQL maps to a role.
    #[must_use]
    pub fn client(&self, user: &str) -> Issued {
        let mut params = params(&[], ExtendedKeyUsagePurpose::ClientAuth);
        params.distinguished_name.push(DnType::CommonName, user);
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs").pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

fn params(hosts: &[&str], purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("hosts that a certificate can name");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.extended_key_usages = vec![purpose];
    params
}

impl Issued {
    /// Creates a self-signed certificate that may sign others, as in PostgreSQL's documentation.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    #[must_use]
    pub fn by_itself(hosts: &[&str]) -> Self {
        let mut params = params(hosts, ExtendedKeyUsagePurpose::ServerAuth);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("it signs itself").pem();
        Self { certificate, key: key.serialize_pem() }
    }

    /// Writes both into a directory, as NAME.crt and NAME.key, and returns their paths.
    ///
    /// # Panics
    /// Panics if they cannot be written.
    pub fn write(&self, directory: &Path, name: &str) -> [PathBuf; 2] {
        let paths = [directory.join(format!("{name}.crt")), directory.join(format!("{name}.key"))];
        for (path, content) in paths.iter().zip([&self.certificate, &self.key]) {
            fs::write(path, content).expect("a directory of the test's own");
        }
        paths
    }
}
