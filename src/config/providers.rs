//! `PAYMENT_PROVIDER`, `CARRIER`, `MAIL`, `SMTP_URL`, `MAIL_FROM`

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::setting::{Setting, Source};

pub(super) const PAYMENT_PROVIDER: Setting = Setting {
    name: "PAYMENT_PROVIDER",
    default: Some("simulated"),
    secret: false,
    meaning: "who takes the money: simulated",
};
pub(super) const CARRIER: Setting =
    Setting { name: "CARRIER", default: Some("simulated"), secret: false, meaning: "who takes the parcels: simulated" };
pub(super) const MAIL: Setting = Setting {
    name: "MAIL",
    default: None,
    secret: false,
    meaning: "where mails go: file:DIRECTORY writes each to a file, smtp sends them by SMTP_URL",
};
pub(super) const SMTP_URL: Setting = Setting {
    name: "SMTP_URL",
    default: None,
    secret: true,
    meaning: "the mail server for MAIL=smtp, such as smtps://USER:PASSWORD@HOST:465 or smtp://HOST:1025",
};
pub(super) const MAIL_FROM: Setting = Setting {
    name: "MAIL_FROM",
    default: Some("Orderflow <orders@localhost>"),
    secret: false,
    meaning: "whom mails come from",
};

/// The payment provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentConfig {
    /// Our own stand-in with the test cards of the contract.
    Simulated,
}

impl PaymentConfig {
    /// Reads its variable; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        source.parse(&PAYMENT_PROVIDER, |text| match text {
            "simulated" => Ok(Self::Simulated),
            _ => Err("expected simulated".to_owned()),
        })
    }
}

/// The carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarrierConfig {
    /// Our own stand-in, which refuses one product.
    Simulated,
}

impl CarrierConfig {
    /// Reads its variable; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        source.parse(&CARRIER, |text| match text {
            "simulated" => Ok(Self::Simulated),
            _ => Err("expected simulated".to_owned()),
        })
    }
}

/// How mails leave.
#[derive(Debug, Clone)]
pub enum MailTransport {
    /// One `.eml` file a mail in this directory.
    Files(PathBuf),
    /// A mail server.
    Smtp(SecretString),
}

/// Mails.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// How they leave.
    pub transport: MailTransport,
    /// Whom they come from, as a mailbox (`Name <address>`).
    pub from: String,
}

impl MailConfig {
    /// Reads its variables; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let smtp_url = source.parse(&SMTP_URL, |text| match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "smtp" | "smtps") && url.has_host() => Ok(SecretString::from(text)),
            _ => Err("expected the form smtps://USER:PASSWORD@HOST:465 or smtp://HOST:1025".to_owned()),
        });
        let transport = source.require(&MAIL, |text| match text.strip_prefix("file:") {
            Some(directory) if !directory.is_empty() => Ok(MailTransport::Files(directory.into())),
            _ if text == "smtp" => {
                smtp_url.map(MailTransport::Smtp).ok_or_else(|| "with it SMTP_URL has to be set".to_owned())
            }
            _ => Err("expected file:DIRECTORY or smtp".to_owned()),
        });
        Some(Self { transport: transport?, from: source.text(&MAIL_FROM)? })
    }
}
