//! The dependencies of the email service's handlers: the mailer and the links in mails.

use std::{num::NonZeroU32, sync::Arc};

use orderflow_order::token::OrderLinks;
use orderflow_service::{
    call_guard::{CallGuard, Guarded},
    config::{LinkConfig, Setting, Source},
    service::{Dependencies, SetupError},
    store::Database,
};

use super::settings::{MailConfig, MailTransport, SETTINGS};
use crate::providers::{FileMailer, SmtpMailer, mail::Mailer};

/// The dependencies of the email service's handlers.
pub struct EmailDependencies {
    /// Sends the mails.
    pub mailer: Guarded<dyn Mailer>,
    /// Links into the shop.
    pub links: OrderLinks,
    /// The most mails about received orders to one address within an hour; `None`: no limit.
    pub limit: Option<NonZeroU32>,
}

impl Dependencies for EmailDependencies {
    type Settings = MailConfig;

    const SETTINGS: &'static [&'static Setting] = SETTINGS;

    /// Mails have links that open the order.
    const ALSO_READS: &'static [&'static Setting] = LinkConfig::SETTINGS;

    fn read(source: &Source) -> Option<MailConfig> {
        MailConfig::read(source)
    }

    fn connect(config: MailConfig, _: &Database) -> Result<Self, SetupError> {
        let mailer: Arc<dyn Mailer> = match config.transport {
            MailTransport::Files(directory) => Arc::new(FileMailer::new(directory, config.from)?),
            MailTransport::Smtp(server) => Arc::new(SmtpMailer::new(&server, config.from)?),
        };
        let mailer = Guarded::by(CallGuard::new("mail", "mail server", config.guard), mailer);
        Ok(Self { mailer, links: OrderLinks::new(&config.links), limit: config.limit })
    }

    fn guards(&self) -> Vec<Arc<CallGuard>> {
        vec![Arc::clone(&self.mailer.guard)]
    }
}
