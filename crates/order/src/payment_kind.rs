//! `PAYMENT_PROVIDER`: which orders can be charged depends on who charges them.

use orderflow_service::config::{Setting, Source};

/// The variable.
pub const PAYMENT_PROVIDER: Setting = Setting {
    name: "PAYMENT_PROVIDER",
    default: Some("simulated"),
    secret: false,
    meaning: "who takes the money: simulated, or stripe with STRIPE_SECRET_KEY; the front end refuses orders that it cannot charge, so it needs the same value",
};

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
