//! Times as the contract has them everywhere: RFC 3339, UTC, milliseconds, `Z`. For `#[serde(with = "timestamp")]`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// `2026-11-22T21:04:05.123Z`
#[must_use]
pub fn format(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(time))
}

/// # Errors
/// When the text is not RFC 3339.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?.to_utc())
}

/// The same for a time that may be absent, which is `null`. For `#[serde(with = "timestamp::optional")]`.
pub mod optional {
    use super::{DateTime, Serializer, Utc, format};

    /// # Errors
    /// Those of the serializer.
    #[allow(clippy::ref_option, reason = "serde asks for this signature")]
    pub fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&format(time)),
            None => serializer.serialize_none(),
        }
    }
}
