//! `orderflow rights`: one PostgreSQL role for each kind of process, with the rights that it needs.

use std::io::Write;

use orderflow_service::{
    config::{DATABASE_ROLE_PREFIX, DatabaseConfig, Setting, Source},
    store::Database,
};
use postgres_protocol::password::scram_sha_256;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio_postgres::error::SqlState;

use super::{
    Exit, Failed,
    lack::explained,
    words::{some, wrapped},
};
use crate::{
    services::roster,
    store::rights::{self, Role},
};

/// The longest prefix: PostgreSQL truncates names after 63 bytes, and a service's name has up to 30.
const LONGEST_PREFIX: usize = 32;

/// Returns the settings of the roles' passwords: `DATABASE_PAYMENT_PASSWORD`, ….
pub fn password_settings() -> Vec<&'static Setting> {
    rights::roles(roster(), "").iter().map(password_setting).collect()
}

fn password_setting(role: &Role) -> &'static Setting {
    Setting::leaked_secret(
        format!("DATABASE_{}_PASSWORD", role.setting),
        format!("password that `orderflow rights apply` gives PostgreSQL's role for {}", role.about),
    )
}

/// Reads the roles, each with its password if one is set.
fn read(source: &Source) -> Option<(Vec<Role>, Vec<Option<SecretString>>)> {
    let roles = rights::roles(roster(), &source.parse(&DATABASE_ROLE_PREFIX, prefix)?);
    let passwords = roles.iter().map(|role| source.secret(password_setting(role))).collect();
    Some((roles, passwords))
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_prefix = text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(fits);
    if is_prefix && text.len() <= LONGEST_PREFIX && !text.starts_with("pg_") {
        return Ok(text.to_owned());
    }
    Err(format!(
        "expected 1 to {LONGEST_PREFIX} lower-case letters, digits and underscores, the first a letter, and not pg_"
    ))
}

/// Creates missing roles and grants each its rights. Safe to repeat, while orders flow, and on several hosts at the
/// same time.
///
/// # Errors
/// See [`Failed`].
pub async fn apply(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let ((roles, passwords), config) = source.finish(read(source).zip(DatabaseConfig::read(source)))?;
    let mut statements = rights::statements(roster(), &roles);
    for (role, password) in roles.iter().zip(&passwords) {
        if let Some(password) = password {
            // PostgreSQL logs statements, so send the SCRAM verifier and not the password.
            statements.push(rights::set_password(role, &scram_sha_256(password.expose_secret().as_bytes())));
        }
    }
    let database = Database::new(&config.directly(), "orderflow rights", 1)?;
    let mut connection = database.connection().await?;
    rights::run(&mut connection, &statements).await.map_err(|error| match error.state() {
        Some(state) if *state == SqlState::INSUFFICIENT_PRIVILEGE => Failed::Usage(format!(
            "{}\nDATABASE_URL must name the owner of the tables, with CREATEROLE; if no role has both, `orderflow rights print` prints \
             the statements for the roles that may run them",
            explained(&error)
        )),
        _ => error.into(),
    })?;
    let names: Vec<String> = roles.iter().map(|role| role.name.clone()).collect();
    let without: Vec<String> = roles
        .iter()
        .zip(&passwords)
        .filter(|(_, password)| password.is_none())
        .map(|(role, _)| role.name.clone())
        .collect();
    if json {
        writeln!(out, "{}", json!({ "roles": names, "without_password": without }))?;
        return Ok(Exit::Ok);
    }
    writeln!(out, "{} roles have their rights: {}.", names.len(), names.join(", "))?;
    if !without.is_empty() {
        let note = format!(
            "No password was set here for {}: `DATABASE_<ROLE>_PASSWORD` sets one, or `ALTER ROLE`.",
            some(&without)
        );
        wrapped(out, "", &note)?;
    }
    Ok(Exit::Ok)
}

/// Writes the same as SQL, without passwords, for a server on which someone else creates roles.
///
/// # Errors
/// See [`Failed`].
pub fn print(source: &Source, out: &mut impl Write) -> Result<Exit, Failed> {
    let (roles, _) = source.finish(read(source))?;
    writeln!(out, "-- Run this in the shop's database, as the owner of its tables with CREATEROLE.")?;
    writeln!(out, "BEGIN;")?;
    for statement in rights::statements(roster(), &roles) {
        writeln!(out, "{statement};")?;
    }
    writeln!(out, "COMMIT;")?;
    Ok(Exit::Ok)
}
