//! The token that opens one order: `v1.<expiry>.<HMAC-SHA256>`. Nothing of it is stored.

use chrono::{DateTime, Duration, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use orderflow_service::config::{LinkConfig, is_loopback};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

/// How long a token opens its order.
pub const LIFETIME: Duration = Duration::days(90);

/// Makes and checks tokens, and the links that carry them.
#[derive(Debug, Clone)]
pub struct OrderLinks {
    public_url: Url,
    secrets: Vec<SecretString>,
}

impl OrderLinks {
    /// Signs with the first secret, verifies with all.
    #[must_use]
    pub fn new(config: &LinkConfig) -> Self {
        Self { public_url: config.public_url.clone(), secrets: config.token_secrets.clone() }
    }

    /// The token for an order, valid for 90 days from when the order was placed: the same each time it is asked for.
    #[must_use]
    pub fn token(&self, order_id: Uuid, placed_at: DateTime<Utc>) -> String {
        let expiry = (placed_at + LIFETIME).timestamp();
        // The configuration has at least one secret.
        let signature = self.secrets.first().map(|secret| hex::encode(sign(secret, order_id, expiry)));
        format!("v1.{expiry}.{}", signature.unwrap_or_default())
    }

    /// Whether this token opens this order now. Takes the same time whatever is wrong with a signature.
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

    /// The status page of an order, for its customer: the link carries the token.
    #[must_use]
    pub fn page(&self, order_id: Uuid, placed_at: DateTime<Utc>) -> String {
        format!("{}?t={}", self.absolute(&format!("/track/{order_id}")), self.token(order_id, placed_at))
    }

    /// Whether browsers reach us by plain HTTP: on their own machine, or at a host that `PLAINTEXT_HOSTS` names.
    #[must_use]
    pub fn is_without_tls(&self) -> bool {
        self.public_url.scheme() == "http"
    }

    /// What browsers may say of a page of ours to others: nothing. By plain HTTP from another machine they say nothing of where
    /// a form comes from but this (`Sec-Fetch-Site` is only for what they trust), so there it goes to ourselves.
    #[must_use]
    pub fn referrer_policy(&self) -> &'static str {
        let is_loopback = self.public_url.host().is_some_and(|host| is_loopback(&host.to_owned()));
        if self.is_without_tls() && !is_loopback { "same-origin" } else { "no-referrer" }
    }

    /// Where the shop's own pages come from, as a browser's `Origin` says it.
    #[must_use]
    pub fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }

    /// Whether this is where the shop's own pages come from: the value of a browser's `Origin`.
    #[must_use]
    pub fn is_own_origin(&self, origin: &str) -> bool {
        self.origin() == origin
    }

    /// A path below the shop's public address.
    #[must_use]
    pub fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// What signs this text with this secret. Each purpose has texts of its own form, so that no signature is of use for another.
pub fn mac(secret: &SecretString, text: &str) -> Hmac<Sha256> {
    let secret = secret.expose_secret().as_bytes();
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    // As RFC 2104 makes a key of any length into a block: a longer one is hashed, a shorter one is filled up with zeros.
    // Done here, it leaves no error to handle.
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
    fn a_token_opens_its_own_order_until_it_expires_and_no_other() {
        let (links, order, now) = (links(&["first"]), Uuid::now_v7(), Utc::now());
        let token = links.token(order, now);
        assert!(links.opens(&token, order, now));
        assert!(links.opens(&token, order, now + Duration::days(89)));
        assert!(!links.opens(&token, order, now + Duration::days(91)));
        assert!(!links.opens(&token, Uuid::now_v7(), now));
    }

    #[test]
    fn a_changed_expiry_or_signature_opens_nothing() {
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
    fn after_a_rotation_old_tokens_still_open_until_their_secret_is_removed() {
        let (order, now) = (Uuid::now_v7(), Utc::now());
        let old = links(&["old"]).token(order, now);
        assert!(links(&["new", "old"]).opens(&old, order, now));
        assert!(!links(&["new"]).opens(&old, order, now));
    }

    #[test]
    fn the_page_is_below_the_public_address() {
        let order = Uuid::now_v7();
        assert!(
            links(&["one"]).page(order, Utc::now()).starts_with(&format!("https://shop.example/track/{order}?t=v1."))
        );
    }

    proptest! {
        /// No text but the order's own token opens it, and none makes us fail. A signature's letters may be large.
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
