//! `PAYMENT_PROVIDER`, `PAYMENT_TIMEOUT`, `PAYMENT_CONCURRENCY`, `STRIPE_SECRET_KEY`, `STRIPE_API_BASE`,
//! `SIMULATOR_DATABASE_URL`, `CARRIER`, `CARRIER_TIMEOUT`, `CARRIER_CONCURRENCY`, `MAIL`, `SMTP_URL`, `MAIL_FROM`,
//! `MAIL_TIMEOUT`, `MAIL_CONCURRENCY`, `MAIL_LIMIT`

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use lettre::message::Mailbox;
use secrecy::SecretString;
use url::Url;

use super::{
    DatabaseConfig, SmtpEncryption, SmtpServerConfig,
    address::{Address, Form, Query},
    broker::HTTP,
    plaintext::PlaintextHosts,
    postgres,
    setting::{self, Setting, Source},
};
use crate::mail_address;

pub(super) const PAYMENT_PROVIDER: Setting = Setting {
    name: "PAYMENT_PROVIDER",
    default: Some("simulated"),
    secret: false,
    meaning: "who takes the money: simulated, or stripe with STRIPE_SECRET_KEY; the front end refuses orders that it cannot charge, so it needs the same value",
};
pub(super) const PAYMENT_TIMEOUT: Setting = Setting {
    name: "PAYMENT_TIMEOUT",
    default: Some("10s"),
    secret: false,
    meaning: "how long the payment provider may take for an answer, 100ms to 5m; then it is asked again, and gets the same key",
};
pub(super) const PAYMENT_CONCURRENCY: Setting = Setting {
    name: "PAYMENT_CONCURRENCY",
    default: Some("64"),
    secret: false,
    meaning: "how many calls to the payment provider a worker has under way at once, 1 to 1000",
};
pub(super) const STRIPE_SECRET_KEY: Setting = Setting {
    name: "STRIPE_SECRET_KEY",
    default: None,
    secret: true,
    meaning: "the key for PAYMENT_PROVIDER=stripe, sk_… or a restricted rk_… that may write PaymentIntents, charges and refunds",
};
pub(super) const STRIPE_API_BASE: Setting = Setting {
    name: "STRIPE_API_BASE",
    default: Some("https://api.stripe.com"),
    secret: false,
    meaning: "where PAYMENT_PROVIDER=stripe finds the API; http:// only for this machine and hosts in PLAINTEXT_HOSTS, since the key would be readable",
};
pub(super) const SIMULATOR_DATABASE_URL: Setting = Setting {
    name: "SIMULATOR_DATABASE_URL",
    default: None,
    secret: true,
    meaning: "the database in which PAYMENT_PROVIDER=simulated keeps its ledger, so that it can be away by itself; unset: that of DATABASE_URL",
};
pub(super) const CARRIER: Setting =
    Setting { name: "CARRIER", default: Some("simulated"), secret: false, meaning: "who takes the parcels: simulated" };
pub(super) const CARRIER_TIMEOUT: Setting = Setting {
    name: "CARRIER_TIMEOUT",
    default: Some("10s"),
    secret: false,
    meaning: "how long the carrier may take for an answer, 100ms to 5m; then it is asked again, and gets the same key",
};
pub(super) const CARRIER_CONCURRENCY: Setting = Setting {
    name: "CARRIER_CONCURRENCY",
    default: Some("64"),
    secret: false,
    meaning: "how many calls to the carrier a worker has under way at once, 1 to 1000",
};
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
    meaning: "the mail server for MAIL=smtp: smtps://USER:PASSWORD@HOST (port 465, encrypted from the start) or smtp://USER:PASSWORD@HOST:587 (encrypted by STARTTLS where the server offers it, and without only for this machine and hosts in PLAINTEXT_HOSTS); smtp://HOST?tls=required (port 587) never goes without STARTTLS and a valid certificate, ?tls=opportunistic is the same as leaving it out but for the port (587 instead of 25)",
};
pub(super) const MAIL_FROM: Setting = Setting {
    name: "MAIL_FROM",
    default: Some("Orderflow <orders@localhost>"),
    secret: false,
    meaning: "whom mails come from: an address, or a name and an address such as Orderflow <orders@shop.example>",
};

pub(super) const MAIL_TIMEOUT: Setting = Setting {
    name: "MAIL_TIMEOUT",
    default: Some("60s"),
    secret: false,
    meaning: "how long handing a mail over may take, 100ms to 5m; then it is sent again, with the same Message-ID",
};
pub(super) const MAIL_CONCURRENCY: Setting = Setting {
    name: "MAIL_CONCURRENCY",
    // Mail servers commonly take about this many connections from one client.
    default: Some("10"),
    secret: false,
    meaning: "how many mails a worker hands over at once, each on a connection of its own, 1 to 1000",
};

pub(super) const MAIL_LIMIT: Setting = Setting {
    name: "MAIL_LIMIT",
    // Anybody can order in anybody's name. Who orders more often than this within an hour has the answers on the shop's page,
    // and a mail for each order that is shipped or fails.
    default: Some("5"),
    secret: false,
    meaning: "mails about received orders that one address is sent within an hour; further ones are held back, other mails are not; 0: no limit",
};

/// The bounds of what is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineConfig {
    /// How long one call may take.
    pub time_out: Duration,
    /// How many calls one process has under way at once; not zero.
    pub concurrency: usize,
}

impl LineConfig {
    /// Reads its two variables; problems stay with `source`.
    fn read(source: &Source, time_out: &Setting, concurrency: &Setting) -> Option<Self> {
        let time_out = source.parse(time_out, |text| match setting::duration(text) {
            // Less is a typing error, and more would hold messages for longer than the broker lets us.
            Ok(length) if (Duration::from_millis(100)..=Duration::from_secs(300)).contains(&length) => Ok(length),
            _ => Err("expected a length of time from 100ms to 5m".to_owned()),
        });
        let concurrency = source.parse(concurrency, |text| setting::number(text, 1, 1_000));
        Some(Self { time_out: time_out?, concurrency: concurrency? })
    }
}

/// Which payment provider it is, for the front end, which never calls it and has no key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PaymentKind {
    /// Our own stand-in, which charges any amount.
    #[default]
    Simulated,
    /// Stripe.
    Stripe,
}

impl PaymentKind {
    /// Reads its variable; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        source.parse(&PAYMENT_PROVIDER, Self::parse)
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "simulated" => Ok(Self::Simulated),
            "stripe" => Ok(Self::Stripe),
            _ => Err("expected simulated or stripe".to_owned()),
        }
    }
}

/// The payment provider.
#[derive(Debug, Clone)]
pub struct PaymentConfig {
    /// Who it is.
    pub provider: PaymentChoice,
    /// What is asked of it.
    pub line: LineConfig,
}

/// Who takes the money.
#[derive(Debug, Clone)]
pub enum PaymentChoice {
    /// Our own stand-in with the test cards of the contract.
    Simulated {
        /// Where it keeps its ledger, if not with us.
        ledger: Option<DatabaseConfig>,
    },
    /// Stripe.
    Stripe(StripeConfig),
}

/// Stripe's API, and who we are there.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// Without `/v1`.
    pub base: Url,
    /// Never shown.
    pub key: SecretString,
}

impl StripeConfig {
    /// Reads its variables; problems stay with `source`.
    fn read(source: &Source, permitted: &PlaintextHosts) -> Option<Self> {
        let base = source.parse(&STRIPE_API_BASE, |text| {
            let address = Address::parse(text, &API)?;
            permitted.permit(source, &STRIPE_API_BASE, &address, "https://")?;
            Ok(address.url)
        });
        let key = source.parse(&STRIPE_SECRET_KEY, |text| {
            // A publishable key (pk_…) is what people mistake for it.
            let is_secret = text.starts_with("sk_") || text.starts_with("rk_");
            if is_secret && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                Ok(SecretString::from(text))
            } else {
                Err("expected a secret key, which begins with sk_ or rk_".to_owned())
            }
        });
        Some(Self { base: base?, key: key? })
    }
}

/// The root of an API to which a secret is sent with every request.
const API: Form =
    Form { schemes: HTTP, shown: "https://HOST", credentials: false, path: true, query: Query::Only(&[]) };

impl PaymentConfig {
    /// Reads its variables; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let ledger = source.parse(&SIMULATOR_DATABASE_URL, |text| {
            postgres::url(text, &permitted, source, &SIMULATOR_DATABASE_URL).map(|url| DatabaseConfig { url })
        });
        let stripe = StripeConfig::read(source, &permitted);
        let kind = source.parse(&PAYMENT_PROVIDER, PaymentKind::parse);
        let line = LineConfig::read(source, &PAYMENT_TIMEOUT, &PAYMENT_CONCURRENCY);
        let provider = match kind? {
            PaymentKind::Simulated => PaymentChoice::Simulated { ledger },
            PaymentKind::Stripe => {
                PaymentChoice::Stripe(source.needed(stripe, &PAYMENT_PROVIDER, &STRIPE_SECRET_KEY)?)
            }
        };
        Some(Self { provider, line: line? })
    }
}

/// The carrier.
#[derive(Debug, Clone)]
pub struct CarrierConfig {
    /// Who it is.
    pub carrier: CarrierChoice,
    /// What is asked of it.
    pub line: LineConfig,
}

/// Who takes the parcels.
#[derive(Debug, Clone)]
pub enum CarrierChoice {
    /// Our own stand-in, which refuses one product.
    Simulated,
}

impl CarrierConfig {
    /// Reads its variables; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let carrier = source.parse(&CARRIER, |text| match text {
            "simulated" => Ok(CarrierChoice::Simulated),
            _ => Err("expected simulated".to_owned()),
        });
        let line = LineConfig::read(source, &CARRIER_TIMEOUT, &CARRIER_CONCURRENCY);
        Some(Self { carrier: carrier?, line: line? })
    }
}

/// How mails leave.
#[derive(Debug, Clone)]
pub enum MailTransport {
    /// One `.eml` file a mail in this directory.
    Files(PathBuf),
    /// A mail server.
    Smtp(SmtpServerConfig),
}

/// Mails.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// How they leave.
    pub transport: MailTransport,
    /// Whom they come from.
    pub from: Mailbox,
    /// Mails about received orders that one address is sent within an hour; `None`: no limit.
    pub limit: Option<NonZeroU32>,
    /// How many at once, and how long each may take.
    pub line: LineConfig,
}

impl MailConfig {
    /// Reads its variables; problems stay with `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let server = source.parse(&SMTP_URL, |text| {
            let server = SmtpServerConfig::parse(text, &permitted)?;
            if let SmtpEncryption::WhereOffered = server.encryption {
                source.goes_in_clear(&SMTP_URL, &server.host, false);
            }
            Ok(server)
        });
        let files = source.require(&MAIL, |text| match text.strip_prefix("file:") {
            Some(directory) if !directory.is_empty() => Ok(Some(directory.into())),
            _ if text == "smtp" => Ok(None),
            _ => Err("expected file:DIRECTORY or smtp".to_owned()),
        });
        let line = LineConfig::read(source, &MAIL_TIMEOUT, &MAIL_CONCURRENCY);
        let limit = source.parse(&MAIL_LIMIT, |text| setting::number(text, 0, 1_000_000));
        let from = source.parse(&MAIL_FROM, |text| {
            mail_address::sender(text).ok_or_else(|| "expected the form Orderflow <orders@shop.example>".to_owned())
        });
        let transport = match files? {
            Some(directory) => MailTransport::Files(directory),
            None => MailTransport::Smtp(source.needed(server, &MAIL, &SMTP_URL)?),
        };
        Some(Self { transport, from: from?, limit: NonZeroU32::new(limit?), line: line? })
    }
}
