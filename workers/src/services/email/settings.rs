//! `MAIL`, `SMTP_URL`, `MAIL_FROM`, `MAIL_TIMEOUT`, `MAIL_CONCURRENCY`, `MAIL_LIMIT`

use std::{num::NonZeroU32, path::PathBuf};

use lettre::message::Mailbox;
use orderflow_order::domain::mail_address;
use orderflow_service::config::{GuardConfig, LinkConfig, Setting, Source, setting};

use crate::providers::{SMTP_URL, SmtpServerConfig};

const MAIL: Setting = Setting {
    name: "MAIL",
    default: None,
    secret: false,
    meaning: "where mails go: file:DIRECTORY writes each to a file, smtp sends them to SMTP_URL",
};
const MAIL_FROM: Setting = Setting {
    name: "MAIL_FROM",
    default: Some("Orderflow <orders@localhost>"),
    secret: false,
    meaning: "the sender of mails: an address, or a name and an address such as Orderflow <orders@shop.example>",
};
const MAIL_TIMEOUT: Setting = Setting {
    name: "MAIL_TIMEOUT",
    default: Some("60s"),
    secret: false,
    meaning: "how long sending a mail may take, 100ms to 5m; it is then retried, with the same Message-ID",
};
const MAIL_CONCURRENCY: Setting = Setting {
    name: "MAIL_CONCURRENCY",
    // Mail servers commonly accept about this many connections from one client.
    default: Some("10"),
    secret: false,
    meaning: "how many mails a worker sends concurrently, each on its own connection, 1 to 1000",
};
const MAIL_LIMIT: Setting = Setting {
    name: "MAIL_LIMIT",
    // Anybody can order in anybody's name. A customer who orders more often than this within an hour still has the
    // orders' pages, and gets a mail for each order that is shipped or fails.
    default: Some("5"),
    secret: false,
    meaning: "the most mails about received orders to one address within an hour; further ones are recorded as held back and never sent; other mails are not limited; 0: no limit",
};

/// The settings that only this service reads.
pub const SETTINGS: &[&Setting] = &[&MAIL, &SMTP_URL, &MAIL_FROM, &MAIL_TIMEOUT, &MAIL_CONCURRENCY, &MAIL_LIMIT];

/// How mails are sent.
#[derive(Debug, Clone)]
pub enum MailTransport {
    /// As one `.eml` file per mail in this directory.
    Files(PathBuf),
    /// By a mail server.
    Smtp(SmtpServerConfig),
}

/// The settings of mails.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// The links to orders' pages.
    pub links: LinkConfig,
    /// How mails are sent.
    pub transport: MailTransport,
    /// The sender.
    pub from: Mailbox,
    /// The most mails about received orders to one address within an hour; `None`: no limit.
    pub limit: Option<NonZeroU32>,
    /// How many mails are sent concurrently, and how long each may take.
    pub guard: GuardConfig,
}

impl MailConfig {
    /// Reads the settings. Collects problems in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let links = LinkConfig::read(source);
        let server = SmtpServerConfig::read(source);
        let files = source.require(&MAIL, |text| match text.strip_prefix("file:") {
            Some(directory) if !directory.is_empty() => Ok(Some(directory.into())),
            _ if text == "smtp" => Ok(None),
            _ => Err("expected file:DIRECTORY or smtp".to_owned()),
        });
        let guard = GuardConfig::read(source, &MAIL_TIMEOUT, &MAIL_CONCURRENCY);
        let limit = source.parse(&MAIL_LIMIT, |text| setting::number(text, 0, 1_000_000));
        let from = source.parse(&MAIL_FROM, |text| {
            mail_address::sender(text).ok_or_else(|| "expected the form Orderflow <orders@shop.example>".to_owned())
        });
        let transport = match files? {
            Some(directory) => MailTransport::Files(directory),
            None => MailTransport::Smtp(source.needed(server, &MAIL, &SMTP_URL)?),
        };
        Some(Self { links: links?, transport, from: from?, limit: NonZeroU32::new(limit?), guard: guard? })
    }
}
