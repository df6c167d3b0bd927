//! `orderflow config`: every setting with its value, default and meaning.

use std::io::Write;

use orderflow_order::payment_kind::PAYMENT_PROVIDER;
use orderflow_service::config::{AdminConfig, BrokerConfig, DatabaseConfig, Setting, Source, WebConfig};
use serde::Serialize;

use super::{Exit, Failed, settings};
use crate::services::roster;

/// Replaces the value of a secret.
const MASK: &str = "********";

#[derive(Serialize)]
struct Row {
    name: &'static str,
    /// `null` if it is not set and has no default.
    value: Option<String>,
    default: Option<&'static str>,
    secret: bool,
    meaning: &'static str,
}

/// Returns whether to mask the value: any URL may contain a password, even in a setting that should not.
fn is_secret(setting: &Setting, value: &str) -> bool {
    setting.secret || (value.contains("://") && value.contains('@'))
}

/// Returns whether these are the settings of the front end or of the operator's commands: complete for these programs,
/// and without the settings that only workers read.
///
/// Both read the name of the payment provider but not its secret, which must then not be reported as missing.
fn is_without_workers(source: &Source) -> bool {
    let of_services = roster().services().flat_map(|service| service.settings);
    let mut of_workers = of_services.filter(|setting| setting.name != PAYMENT_PROVIDER.name);
    let (database, broker) = (DatabaseConfig::read(source), BrokerConfig::read(source));
    let for_front_end = broker.is_some() && WebConfig::read(source).is_some();
    let for_commands = broker.is_none() && AdminConfig::read(source).is_some();
    of_workers.all(|setting| source.given(setting).is_none()) && database.is_some() && (for_front_end || for_commands)
}

/// Writes all settings to `out`; secrets are masked.
///
/// # Errors
/// Fails if a setting is invalid, or one that another setting requires is missing; all settings are written first. Also
/// when `out` cannot be written to.
pub fn run(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    roster().check_settings(source);
    if !source.only_given(is_without_workers) {
        source.refuse_unmet();
    }
    let rows = settings::sections().into_iter().flat_map(|section| section.settings).map(|setting| Row {
        name: setting.name,
        value: source.text(setting).map(|value| if is_secret(setting, &value) { MASK.to_owned() } else { value }),
        default: setting.default,
        secret: setting.secret,
        meaning: setting.meaning,
    });
    if json {
        serde_json::to_writer_pretty(&mut *out, &rows.collect::<Vec<_>>())?;
        writeln!(out)?;
        return Ok(source.finish(Some(Exit::Ok))?);
    }
    for row in rows {
        writeln!(out, "{} = {}", row.name, row.value.as_deref().unwrap_or("(not set)"))?;
        if let Some(default) = row.default {
            writeln!(out, "    default: {default}")?;
        }
        writeln!(out, "    {}", row.meaning)?;
    }
    writeln!(out, "\nA secret NAME may also be given by NAME_FILE, the path of a file that holds it.")?;
    Ok(source.finish(Some(Exit::Ok))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_everything_else_is_shown() {
        let given = [
            ("DATABASE_URL", "postgres://u:geheim@h/d"),
            ("LISTEN", "0.0.0.0:80"),
            ("PUBLIC_URL", "http://u:geheim@h"),
        ];
        let source: Source = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        for json in [false, true] {
            let mut out = Vec::new();
            let refused = run(&source, json, &mut out).expect_err("h is not in PLAINTEXT_HOSTS").to_string();
            assert!(!refused.contains("geheim"), "{refused}");
            let text = String::from_utf8(out).expect("it is text");
            assert!(!text.contains("geheim"), "{text}");
            assert!(text.contains(MASK) && text.contains("0.0.0.0:80"), "{text}");
        }
    }
}
