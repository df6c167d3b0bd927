//! Times in the contract's format: RFC 3339, UTC, milliseconds, `Z`. For `#[serde(with = "timestamp")]`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Formats a time: `2026-11-22T21:04:05.123Z`.
#[must_use]
pub fn format(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Serializes a time.
///
/// # Errors
/// Returns the serializer's errors.
pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(time))
}

/// Deserializes a time.
///
/// # Errors
/// Fails if the text is not RFC 3339.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(DateTime::parse_from_rfc3339(&text).map_err(D::Error::custom)?.to_utc())
}

/// The same for a time that may be absent, written as `null`. For `#[serde(with = "timestamp::optional")]`.
pub mod optional {
    use super::{DateTime, Serializer, Utc, format};

    /// Serializes a time or `null`.
    ///
    /// # Errors
    /// Returns the serializer's errors.
    #[allow(clippy::ref_option, reason = "serde requires this signature")]
    pub fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&format(time)),
            None => serializer.serialize_none(),
        }
    }
}
