//! Every setting: the heading under which operators find it, and the programs that read it.

use std::{collections::BTreeSet, io};

use orderflow_service::{
    config::{
        self, AdminConfig, Admission, BrokerConfig, DatabaseConfig, FrontEndConfig, Group, Setting, Source, Users,
    },
    process,
};
use orderflow_worker::providers::SmtpServerConfig;

use super::{rights, users};
use crate::{
    services::roster,
    web::{self, Part},
};

/// The settings under one heading.
#[derive(Debug)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// The settings, in the order in which an operator would set them.
    pub settings: Vec<&'static Setting>,
}

/// Returns every setting once, in the order in which an operator would set them.
#[must_use]
pub fn sections() -> Vec<Section> {
    let section = |group: &Group| Section { title: group.title.to_owned(), settings: group.settings.to_vec() };
    let services = roster().services().filter(|service| !service.settings.is_empty());
    let of_service = services
        .map(|service| Section { title: format!("Service: {}", service.name), settings: service.settings.to_vec() });
    let mut set_up = section(&config::SET_UP);
    set_up.settings.extend(users::password_settings());
    set_up.settings.extend(rights::password_settings());
    let shared = config::SHARED.iter().map(section);
    shared.chain(of_service).chain([section(&config::DIAGNOSTICS), set_up]).collect()
}

/// A program, or a part of one that runs alone, and the settings that it reads.
#[derive(Debug)]
pub struct Reader {
    /// `shop`, `console` or `commands` of `orderflow`, or the service that an `orderflow-worker` runs.
    pub name: &'static str,
    /// Whether it is a worker.
    pub is_worker: bool,
    /// The names of the settings.
    pub settings: BTreeSet<&'static str>,
}

impl Reader {
    /// Calls the function with which the program reads its settings, and notes which ones it reads.
    fn observe(name: &'static str, is_worker: bool, read: impl FnOnce(&Source)) -> Self {
        // Without this setting the console would not read the others that it needs to reach RabbitMQ.
        let given = [("AMQP_ADMIN_URL".to_owned(), "amqp://localhost".to_owned())];
        let source: Source = given.into_iter().collect();
        read(&source);
        Self { name, is_worker, settings: source.names_read() }
    }
}

/// Returns every built-in program with the settings that it reads, which its own code reports.
#[must_use]
pub fn readers() -> Vec<Reader> {
    let roster = orderflow_worker::roster();
    let mut all = vec![
        Reader::observe("shop", false, |source| web::read_settings(source, Part::Shop)),
        Reader::observe("console", false, |source| web::read_settings(source, Part::Console)),
        Reader::observe("commands", false, read_by_commands),
    ];
    all.extend(roster.services().map(|service| {
        Reader::observe(service.name, true, |source| {
            let queues = service.takes.iter().map(|takes| takes.subscription).collect();
            drop(process::Settings::read(source, roster, queues));
        })
    }));
    all
}

/// Reads what any operator's command reads, except `serve`. The commands cannot be observed like the programs: they
/// connect as soon as they have read their settings.
fn read_by_commands(source: &Source) {
    drop((DatabaseConfig::read(source), AdminConfig::read(source)));
    let mut passwords = Users::read(source);
    users::read_passwords(source, &mut passwords);
    // This command connects to nothing, and reads all settings of `rights`.
    drop(rights::print(source, &mut io::sink()));
    // `why` uses AMQP_URL if AMQP_ADMIN_URL is not set.
    drop((BrokerConfig::read(source), BrokerConfig::read_admin(source)));
    // `top`, `republish` and `doctor`.
    let limits = (Admission::read(source), config::reconcile_after(source));
    drop((limits, SmtpServerConfig::read(source), FrontEndConfig::certificate(source)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_listed_once_and_read_by_a_program() {
        let (sections, readers) = (sections(), readers());
        let mut listed = BTreeSet::new();
        for setting in sections.iter().flat_map(|section| &section.settings) {
            assert!(listed.insert(setting.name), "{} is listed twice", setting.name);
        }
        let read: BTreeSet<_> = readers.iter().flat_map(|reader| reader.settings.iter().copied()).collect();
        assert_eq!(listed, read, "left: the settings that are listed; right: those that programs read");
    }

    #[test]
    fn program_reads_no_secret_of_another() {
        let readers = readers();
        let by = |setting: &str| -> Vec<_> {
            readers.iter().filter(|reader| reader.settings.contains(setting)).map(|reader| reader.name).collect()
        };
        assert_eq!(by("TOKEN_SECRET"), ["shop", "console", "email"]);
        assert_eq!(by("STRIPE_SECRET_KEY"), ["payment"]);
        assert_eq!(by("OPERATOR_TOKENS"), ["console"]);
        assert_eq!(by("AMQP_ADMIN_URL"), ["console", "commands"]);
        for set_up in ["AMQP_WEB_PASSWORD", "AMQP_PAYMENT_PASSWORD", "DATABASE_WEB_PASSWORD"] {
            assert_eq!(by(set_up), ["commands"], "{set_up}");
        }
        assert_eq!(by("DATABASE_URL").len(), readers.len(), "every program reads it");
    }
}
