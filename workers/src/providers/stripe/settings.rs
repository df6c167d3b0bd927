//! `STRIPE_SECRET_KEY`, `STRIPE_API_BASE`

use orderflow_service::config::{
    PlaintextHosts, Setting, Source,
    address::{Address, Form, HTTP, Query},
};
use secrecy::SecretString;
use url::Url;

/// The setting of the key.
pub const STRIPE_SECRET_KEY: Setting = Setting::secret(
    "STRIPE_SECRET_KEY",
    "the key for PAYMENT_PROVIDER=stripe: sk_…, or a restricted rk_… that may write PaymentIntents, charges and refunds",
);

/// The setting of the API's address.
pub const STRIPE_API_BASE: Setting = Setting {
    name: "STRIPE_API_BASE",
    default: Some("https://api.stripe.com"),
    secret: false,
    meaning: "the address of the API for PAYMENT_PROVIDER=stripe; http:// only for this machine and hosts in PLAINTEXT_HOSTS, since the key would be readable",
};

/// The form of the API's address. A secret is sent there with every request.
const API: Form =
    Form { schemes: HTTP, shown: "https://HOST", credentials: false, path: true, query: Query::Only(&[]) };

/// Stripe's API, and our key.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// The API's address, without `/v1`.
    pub base: Url,
    /// Our key. It is never shown.
    pub key: SecretString,
}

impl StripeConfig {
    /// Reads the settings. Collects problems in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let base = source.parse(&STRIPE_API_BASE, |text| {
            let address = Address::parse(text, &API)?;
            permitted.permit(source, &STRIPE_API_BASE, &address, "https://")?;
            Ok(address.url)
        });
        let key = source.parse(&STRIPE_SECRET_KEY, |text| {
            // The common mistake is a publishable key (pk_…).
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
