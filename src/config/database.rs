//! `DATABASE_URL`

use secrecy::SecretString;

use super::setting::{Setting, Source};

pub(super) const DATABASE_URL: Setting = Setting {
    name: "DATABASE_URL",
    default: None,
    secret: true,
    meaning: "PostgreSQL, such as postgres://USER:PASSWORD@HOST:5432/DATABASE",
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
        Some(Self { url: source.require(&DATABASE_URL, postgres_url)? })
    }
}

/// The URL of a PostgreSQL database.
pub(super) fn postgres_url(text: &str) -> Result<SecretString, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") && url.has_host() => Ok(text.into()),
        _ => Err("expected the form postgres://USER:PASSWORD@HOST:5432/DATABASE".to_owned()),
    }
}
