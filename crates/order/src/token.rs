//! The token that opens one order: `v1.<expiry>.<HMAC-SHA256>`. It is not stored.

use chrono::{DateTime, Duration, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use orderflow_service::config::{LinkConfig, is_loopback};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

/// How long a token is valid.
pub const LIFETIME: Duration = Duration::days(90);

/// Creates and verifies tokens, and the links that carry them.
#[derive(Debug, Clone)]
pub struct OrderLinks {
    public_url: Url,
    secrets: Vec<SecretString>,
}

impl OrderLinks {
    /// Creates links that sign with the first secret and verify with all of them.
    #[must_use]
    pub fn new(config: &LinkConfig) -> Self {
        Self { public_url: config.public_url.clone(), secrets: config.token_secrets.clone() }
    }

    /// Returns the token for an order, valid for 90 days from when the order was placed. It is the same on every call.
    #[must_use]
    pub fn token(&self, order_id: Uuid, placed_at: DateTime<Utc>) -> String {
        let expiry = (placed_at + LIFETIME).timestamp();
        // The configuration has at least one secret.
        let signature = self.secrets.first().map(|secret| hex::encode(sign(secret, order_id, expiry)));
        format!("v1.{expiry}.{}", signature.unwrap_or_default())
    }

    /// Returns whether this token opens this order now. Signatures are compared in constant time.
    #[must_use]
    pub fn opens(&self, token: &str, order_id: Uuid, now: DateTime<Utc>) -> bool {
        let mut parts = token.split('.');
        let (Some("v1"), Some(expiry), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let (Ok(expiry), Ok(signature)) = (expiry.parse::<i64>(), hex::decode(signature)) else { return false };
        expiry > now.timestamp()
            && self.secrets.iter().any(|secret| mac(secret, &signed(order_id, expiry)).verify_slice(&signature).is_ok())
    }

    /// Returns the link to an order's status page for its customer. The link carries the token.
    #[must_use]
    pub fn page(&self, order_id: Uuid, placed_at: DateTime<Utc>) -> String {
        format!("{}?t={}", self.absolute(&format!("/track/{order_id}")), self.token(order_id, placed_at))
    }

    /// Returns whether browsers reach us over plain HTTP: on the local machine, or at a host that `PLAINTEXT_HOSTS`
    /// names.
    #[must_use]
    pub fn is_without_tls(&self) -> bool {
        self.public_url.scheme() == "http"
    }

    /// Returns the `Referrer-Policy` of our pages: no page address goes to other sites.
    ///
    /// Over plain HTTP from another machine, browsers send no `Sec-Fetch-Site`. The referrer is then the only sign of
    /// where a form comes from, so there it is sent to our own origin.
    #[must_use]
    pub fn referrer_policy(&self) -> &'static str {
        let is_loopback = self.public_url.host().is_some_and(|host| is_loopback(&host.to_owned()));
        if self.is_without_tls() && !is_loopback { "same-origin" } else { "no-referrer" }
    }

    /// Returns the origin of the shop's own pages, in the form of a browser's `Origin` header.
    #[must_use]
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }

    /// Returns whether this value of a browser's `Origin` header is the origin of the shop's own pages.
    #[must_use]
    pub fn is_own_origin(&self, origin: &str) -> bool {
        self.origin() == origin
    }

    /// Returns the URL of a path below the shop's public address.
    #[must_use]
    pub fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// Returns the MAC of this text with this secret. The texts of each purpose have a form of their own, so that no
/// signature is valid for another purpose.
pub fn mac(secret: &SecretString, text: &str) -> Hmac<Sha256> {
    let secret = secret.expose_secret().as_bytes();
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    // RFC 2104 turns a key of any length into a block: a longer key is hashed, a shorter one is padded with zeros.
    // Doing this here leaves no error to handle.
    let hashed = <Sha256 as sha2::Digest>::digest(secret);
    let key: &[u8] = if secret.len() > block.len() { &hashed } else { secret };
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block);
    mac.update(text.as_bytes());
    mac
}

fn signed(order_id: Uuid, expiry: i64) -> String {
    format!("{order_id}|{expiry}")
}

fn sign(secret: &SecretString, order_id: Uuid, expiry: i64) -> Vec<u8> {
    mac(secret, &signed(order_id, expiry)).finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn links(secrets: &[&str]) -> OrderLinks {
        OrderLinks {
            public_url: "https://shop.example/".parse().expect("a URL"),
            secrets: secrets.iter().map(|secret| SecretString::from(*secret)).collect(),
        }
    }

    #[test]
    fn token_opens_only_its_own_order_and_only_until_it_expires() {
        let (links, order, now) = (links(&["first"]), Uuid::now_v7(), Utc::now());
        let token = links.token(order, now);
        assert!(links.opens(&token, order, now));
        assert!(links.opens(&token, order, now + Duration::days(89)));
        assert!(!links.opens(&token, order, now + Duration::days(91)));
        assert!(!links.opens(&token, Uuid::now_v7(), now));
    }

    #[test]
    fn token_with_a_changed_expiry_or_signature_opens_nothing() {
        let (links, order, now) = (links(&["first"]), Uuid::now_v7(), Utc::now());
        let token = links.token(order, now);
        let signature = token.rsplit('.').next().expect("it has a signature");
        let later = (now + Duration::days(900)).timestamp();
        assert!(!links.opens(&format!("v1.{later}.{signature}"), order, now));
        for wrong in ["", "v1", "v1..", "v2.1.aa", &format!("{token}00"), &format!("{token}.x")] {
            assert!(!links.opens(wrong, order, now), "{wrong}");
        }
    }

    #[test]
    fn tokens_stay_valid_after_a_rotation_until_their_secret_is_removed() {
        let (order, now) = (Uuid::now_v7(), Utc::now());
        let old = links(&["old"]).token(order, now);
        assert!(links(&["new", "old"]).opens(&old, order, now));
        assert!(!links(&["new"]).opens(&old, order, now));
    }

    #[test]
    fn status_page_is_below_the_public_address() {
        let order = Uuid::now_v7();
        assert!(
            links(&["one"]).page(order, Utc::now()).starts_with(&format!("https://shop.example/track/{order}?t=v1."))
        );
    }

    proptest! {
        /// Only an order's own token opens it, and no text causes a panic. A signature may be in upper case.
        #[test]
        fn nothing_else_opens_an_order(
            text in prop_oneof![any::<String>(), "v1\\.[0-9+-]{0,20}\\.[0-9a-fA-F]{0,80}"],
            (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
        ) {
            let (links, order, now) = (links(&["first", "second"]), Uuid::from_u128(7), DateTime::UNIX_EPOCH);
            let token = links.token(order, now);
            prop_assert!(links.opens(&token, order, now));
            prop_assert!(!links.opens(&text, order, now), "{text:?}");
            let mut changed = token.clone().into_bytes();
            changed[at.index(token.len())] = byte;
            if let Ok(changed) = String::from_utf8(changed) {
                prop_assert_eq!(links.opens(&changed, order, now), changed.eq_ignore_ascii_case(&token) && changed.starts_with('v'));
            }
        }
    }
}
