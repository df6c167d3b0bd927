//! `DATABASE_URL`

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    plaintext::PlaintextHosts,
    postgres::{self, PostgresServer},
    setting::{Setting, Source},
};

pub(super) const DATABASE_URL: Setting = Setting {
    name: "DATABASE_URL",
    default: None,
    secret: true,
    meaning: "PostgreSQL, such as postgres://USER:PASSWORD@HOST:5432/DATABASE, several HOST:PORT with commas between, postgres:///DATABASE?host=/var/run/postgresql, or key=value as libpq has it; for hosts other than this machine with ?sslmode=verify-full and, for an own CA, sslrootcert=FILE (sslmode, sslrootcert, sslcert, sslkey, sslnegotiation and channel_binding as libpq has them), or without where the host is in PLAINTEXT_HOSTS",
};

/// What the names of PostgreSQL's roles begin with.
pub const DATABASE_ROLE_PREFIX: Setting = Setting {
    name: "DATABASE_ROLE_PREFIX",
    default: Some("orderflow"),
    secret: false,
    meaning: "what the names of the roles begin with that `orderflow rights` makes; roles belong to the whole server, so two shops on one need two",
};

/// Where the database is.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The whole URL, with its password.
    pub url: SecretString,
}

impl DatabaseConfig {
    /// Reads its variable; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let url = source.require(&DATABASE_URL, |text| postgres::url(text, &permitted, source, &DATABASE_URL))?;
        Some(Self { url })
    }

    /// Reads another variable with a database's URL, where it is given; problems stay with `source`.
    #[must_use]
    pub fn read_from(source: &Source, setting: &Setting) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let url = source.parse(setting, |text| postgres::url(text, &permitted, source, setting))?;
        Some(Self { url })
    }

    /// What the URL says, for who connects.
    ///
    /// # Errors
    /// What is wrong with the URL; of one that was read, nothing is, unless a file that it names has changed.
    pub fn server(&self) -> Result<PostgresServer, String> {
        postgres::parse(self.url.expose_secret())
    }
}
