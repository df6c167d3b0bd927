//! `DATABASE_URL`, `DATABASE_DIRECT_URL`, `DATABASE_PREPARED`, `DATABASE_POOL`

use std::ops::RangeInclusive;

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    plaintext::PlaintextHosts,
    postgres::{self, PostgresServer},
    setting::{self, Setting, Source},
};

pub(super) const DATABASE_URL: Setting = Setting::secret(
    "DATABASE_URL",
    "PostgreSQL, such as postgres://USER:PASSWORD@HOST:5432/DATABASE, several HOST:PORT separated by commas, postgres:///DATABASE?host=/var/run/postgresql, or key=value as in libpq; for hosts other than this machine add ?sslmode=verify-full and, for your own CA, sslrootcert=FILE (sslmode, sslrootcert, sslcert, sslkey, sslnegotiation and channel_binding work as in libpq), unless the host is in PLAINTEXT_HOSTS",
);

pub(super) const DATABASE_DIRECT_URL: Setting = Setting::secret(
    "DATABASE_DIRECT_URL",
    "PostgreSQL itself, in the same form, if DATABASE_URL leads to a pooler in transaction mode such as PgBouncer: for work that needs its own session (`migrate`, `rights apply`, listening); unset: DATABASE_URL leads to PostgreSQL itself",
);
pub(super) const DATABASE_PREPARED: Setting = Setting {
    name: "DATABASE_PREPARED",
    default: None,
    secret: false,
    meaning: "only with DATABASE_DIRECT_URL: on if the pooler carries prepared statements (PgBouncer 1.21 or newer with max_prepared_statements above 0), off or unset if it does not",
};
pub(super) const DATABASE_POOL: Setting = Setting {
    name: "DATABASE_POOL",
    default: None,
    secret: false,
    meaning: "the most connections to PostgreSQL that `orderflow serve` or a worker opens, 4 to 500; unset: 4 to 10, by what the process does (docs/OPERATORS.md)",
};

/// The prefix of the names of PostgreSQL's roles.
pub const DATABASE_ROLE_PREFIX: Setting = Setting {
    name: "DATABASE_ROLE_PREFIX",
    default: Some("orderflow"),
    secret: false,
    meaning: "the prefix of the roles that `orderflow rights` creates; roles belong to the whole server, so two shops on one server need different prefixes",
};

/// The values of `DATABASE_POOL`. The front end needs four: one to listen, one for the console, and two for customers.
const POOL: RangeInclusive<usize> = 4..=500;

/// The location of the database.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The whole URL, with its password.
    pub url: SecretString,
    /// PostgreSQL itself, if `url` leads to a pooler in transaction mode.
    pub direct: Option<SecretString>,
    /// Whether such a pooler carries prepared statements.
    pub prepared: bool,
    /// The most connections of a long-lived process, if `DATABASE_POOL` is set.
    pub pool: Option<usize>,
}

/// A worker's connections for its relay and for its work besides its queues.
const BESIDE_QUEUES: usize = 2;

/// The most connections of a worker if `DATABASE_POOL` is not set. Transactions take milliseconds and rarely all run
/// concurrently; without a free connection, the next one waits. Of 20 connections, a worker for all services and a
/// front end leave two to commands.
const MOST_OF_A_WORKER: usize = 10;

impl DatabaseConfig {
    /// Returns the database at this URL, with defaults for everything else.
    pub fn at(url: impl Into<SecretString>) -> Self {
        Self { url: url.into(), direct: None, prepared: false, pool: None }
    }

    /// Returns the same database without a pooler in between, for work that needs its own session.
    #[must_use]
    pub fn directly(&self) -> Self {
        Self { url: self.direct.as_ref().unwrap_or(&self.url).clone(), direct: None, ..self.clone() }
    }

    /// Returns each address with the setting that names it: that of the pool, and PostgreSQL itself if the pool leads to
    /// a pooler.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, Self)> {
        let direct = self.direct.is_some().then(|| (DATABASE_DIRECT_URL.name, self.directly()));
        [(DATABASE_URL.name, self.clone())].into_iter().chain(direct).collect()
    }

    /// Returns how many connections a worker with this many queues may have.
    #[must_use]
    pub fn worker_pool(&self, queues: usize) -> usize {
        self.pool.unwrap_or_else(|| queues.saturating_add(BESIDE_QUEUES).clamp(*POOL.start(), MOST_OF_A_WORKER))
    }

    /// Reads its variables. Problems are collected in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let url = source.require(&DATABASE_URL, |text| postgres::url(text, &permitted, source, &DATABASE_URL));
        let direct =
            source.parse(&DATABASE_DIRECT_URL, |text| postgres::url(text, &permitted, source, &DATABASE_DIRECT_URL));
        let prepared = source.parse(&DATABASE_PREPARED, |text| match text {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err("expected on or off".to_owned()),
        });
        let pool = source.parse(&DATABASE_POOL, |text| setting::number(text, *POOL.start(), *POOL.end()));
        Some(Self { url: url?, direct, prepared: prepared.unwrap_or_default(), pool })
    }

    /// Reads another variable with a database's URL, if it is given. Problems are collected in `source`.
    #[must_use]
    pub fn read_from(source: &Source, setting: &Setting) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let url = source.parse(setting, |text| postgres::url(text, &permitted, source, setting))?;
        Some(Self::at(url))
    }

    /// Returns what the URL says, in the form for connecting.
    ///
    /// # Errors
    /// Returns what is wrong with the URL. A URL that was read before is valid, unless a file that it names has
    /// changed.
    pub fn server(&self) -> Result<PostgresServer, String> {
        postgres::parse(self.url.expose_secret())
    }
}
