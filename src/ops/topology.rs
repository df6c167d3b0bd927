//! `orderflow topology`: what must exist on the broker.

use std::io::Write;

use orderflow_service::{
    broker::NoVhost,
    config::{AdminConfig, RetryDelays, Source, Users},
};
use serde_json::json;

use super::{
    Exit, Failed,
    lack::Lack,
    users,
    words::{some, wrapped},
};
use crate::{
    broker::{Altered, Applied, Management, ManagementError, Topology, Who},
    services,
};

/// The virtual host of the exported file; `topology apply` uses the one in `AMQP_ADMIN_URL`.
pub const EXPORTED_VHOST: &str = "orderflow";

/// The note for a broker that shows operator policies only to administrators.
pub(super) const NOT_SEEN: &str =
    "Operator policies were not checked: AMQP_ADMIN_URL's user cannot see them; an administrator can.";

/// Creates what is missing, then checks. Safe to repeat, and on several hosts at the same time.
///
/// # Errors
/// See [`Failed`].
pub async fn apply(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let (management, topology) = open(source)?;
    let who = management.whoami().await?;
    if !who.is_administrator() && !management.has_vhost().await? {
        return no_vhost(&management, &who, json, out);
    }
    let Applied { notes, is_short } = management.apply(services::roster(), &topology).await?;
    // The import silently skips an object that exists with other arguments, so check the result.
    let report = Report::inspect(&management, &topology, &who, notes).await?;
    report.write(json, out)?;
    Ok(if report.ok && !is_short { Exit::Ok } else { Exit::No })
}

/// Compares the broker with what must exist.
///
/// # Errors
/// See [`Failed`].
pub async fn check(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let (management, topology) = open(source)?;
    let who = management.whoami().await?;
    if !management.has_vhost().await? {
        return no_vhost(&management, &who, json, out);
    }
    let notes = if who.is_administrator() { Vec::new() } else { vec![rights_not_seen(&who)] };
    let report = Report::inspect(&management, &topology, &who, notes).await?;
    report.write(json, out)?;
    Ok(if report.ok { Exit::Ok } else { Exit::No })
}

fn rights_not_seen(who: &Who) -> String {
    let me = &who.name;
    format!(
        "Users and their rights were not checked: for that, AMQP_ADMIN_URL's user ({me}) needs the tag administrator."
    )
}

fn no_vhost(management: &Management, who: &Who, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let no = NoVhost::unlisted(&management.config().vhost, &who.name, who.is_administrator());
    let (what, remedy) = (format!("{}.", no.what()), no.remedy());
    if json {
        writeln!(out, "{}", json!({ "ok": false, "differences": [what], "remedy": remedy }))?;
    } else {
        wrapped(out, "", &what)?;
        wrapped(out, "-> ", &remedy)?;
    }
    Ok(Exit::No)
}

/// The remedy for policies that alter Orderflow's queues.
pub(super) const POLICY_REMEDY: &str = "messages may be dropped, expire or be delivered too often: change the pattern of \
    that policy so that it leaves these queues alone, or delete it (management UI, Admin, Policies)";

/// Returns one alteration as text.
pub(super) fn described(altered: &Altered) -> String {
    let is = if altered.policies.len() == 1 { "alters" } else { "alter" };
    format!("{} {is} {}: {}", altered.policies.join(" and "), some(&altered.queues), altered.changes.join(", "))
}

/// Writes what must exist as a boot file for RabbitMQ (`load_definitions`).
///
/// # Errors
/// See [`Failed`].
pub fn export(source: &Source, out: &mut impl Write) -> Result<Exit, Failed> {
    let delays = source.finish(RetryDelays::read(source))?;
    let file = Topology::new(services::roster(), delays.as_slice()).as_boot_file(EXPORTED_VHOST)?;
    serde_json::to_writer_pretty(&mut *out, &file)?;
    writeln!(out)?;
    Ok(Exit::Ok)
}

fn open(source: &Source) -> Result<(Management, Topology), Failed> {
    // The passwords are read before `finish`, so that an unreadable file of one is reported.
    let (admin, mut users) = (AdminConfig::read(source), Users::read(source));
    users::read_passwords(source, &mut users);
    let config = AdminConfig { users, ..source.finish(admin)? };
    let topology = Topology::new(services::roster(), config.retry_delays.as_slice());
    Ok((Management::new(config)?, topology))
}

/// The result of a check.
struct Report {
    ok: bool,
    exchanges: usize,
    queues: usize,
    differences: Vec<String>,
    altered: Vec<Altered>,
    users: Vec<Lack>,
    notes: Vec<String>,
}

impl Report {
    /// Compares the current state; users and their rights only as far as `who` may see them.
    async fn inspect(
        management: &Management,
        wanted: &Topology,
        who: &Who,
        mut notes: Vec<String>,
    ) -> Result<Self, ManagementError> {
        let live = management.live().await?;
        let users = match who.is_administrator() {
            true => users::lacks(management, &management.user_names().await?).await?,
            false => Vec::new(),
        };
        if live.operator_policies.is_none() {
            notes.push(NOT_SEEN.to_owned());
        }
        let (differences, altered) = (wanted.missing_from(&live), wanted.altered_by(&live));
        Ok(Self {
            ok: differences.is_empty() && altered.is_empty() && users.is_empty(),
            exchanges: wanted.exchanges.len(),
            queues: wanted.queues.len(),
            differences,
            altered,
            users,
            notes,
        })
    }

    fn write(&self, json: bool, out: &mut impl Write) -> Result<(), Failed> {
        let Self { ok, exchanges, queues, differences, altered, users, notes } = self;
        if json {
            let counts = json!({ "exchanges": exchanges, "queues": queues });
            let report = json!({
                "ok": ok, "wanted": counts, "differences": differences, "policies": altered, "users": users, "notes": notes,
            });
            return Ok(writeln!(out, "{report}")?);
        }
        for note in notes {
            wrapped(out, "", note)?;
        }
        if differences.is_empty() && altered.is_empty() {
            writeln!(out, "RabbitMQ has all {exchanges} exchanges and {queues} queues as they should be.")?;
        }
        for difference in differences {
            writeln!(out, "{difference}")?;
        }
        if !differences.is_empty() {
            writeln!(
                out,
                "`orderflow topology apply` creates what is missing. An object that differs cannot be changed while it exists: \
                 empty it, delete it in the management UI, then apply again."
            )?;
        }
        for one in altered {
            wrapped(out, "", &described(one))?;
        }
        if !altered.is_empty() {
            wrapped(out, "-> ", POLICY_REMEDY)?;
        }
        for Lack { what, remedy } in users {
            wrapped(out, "", &format!("{what}."))?;
            wrapped(out, "-> ", remedy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_password_file_ends_set_up_before_it_changes_anything() {
        for user in ["WEB", "PAYMENT"] {
            let file = format!("AMQP_{user}_PASSWORD_FILE");
            let given = [("AMQP_ADMIN_URL", "amqp://localhost"), (file.as_str(), "/nowhere/password")];
            let source: Source = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
            let refused = open(&source).expect_err("it cannot be read").to_string();
            assert!(refused.contains(&file), "{refused}");
        }
    }
}
