//! `PAYMENT_PROVIDER`: the payment provider decides which orders can be charged.

use orderflow_service::config::{Setting, Source};

/// The setting.
pub const PAYMENT_PROVIDER: Setting = Setting {
    name: "PAYMENT_PROVIDER",
    default: Some("simulated"),
    secret: false,
    meaning: "the payment provider: simulated, or stripe with STRIPE_SECRET_KEY; the front end refuses orders that it cannot charge, so it needs the same value",
};

/// The kind of payment provider, for the front end, which never calls the provider and has no key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PaymentKind {
    /// Our own simulated provider, which charges any amount.
    #[default]
    Simulated,
    /// Stripe.
    Stripe,
}

impl PaymentKind {
    /// Reads the setting. Problems are collected in `source`.
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
