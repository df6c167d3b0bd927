//! E-mail addresses that our mailer can send to. The order form and the mailer share this rule.

use lettre::{Address, message::Mailbox};
use url::Host;

/// The longest address, in bytes: 256 with its angle brackets in RFC 5321, 4.5.3.1.3.
const LONGEST: usize = 254;

/// The longest part before the @, in bytes (RFC 5321, 4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;

/// Why no mail can be sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMailable {
    /// It is not an internet mail address.
    NotAnAddress,
    /// It may exist, but many mail servers do not accept it: it has quotes or non-ASCII characters before the @. The
    /// latter need SMTPUTF8 (RFC 6531) on every server on the way.
    LocalPart,
}

/// Parses an address and returns it in the form used for sending: with its domain in ASCII, for servers without
/// SMTPUTF8.
///
/// # Errors
/// See [`NotMailable`].
pub fn mailable(text: &str) -> Result<Address, NotMailable> {
    let (local, domain) = text.rsplit_once('@').ok_or(NotMailable::NotAnAddress)?;
    let domain = ascii_domain(domain).ok_or(NotMailable::NotAnAddress)?;
    if local.starts_with('"') || !local.is_ascii() {
        return Err(NotMailable::LocalPart);
    }
    if !is_dot_atom(local) || local.len() > LONGEST_LOCAL || local.len() + 1 + domain.len() > LONGEST {
        return Err(NotMailable::NotAnAddress);
    }
    Address::new(local, domain).map_err(|_| NotMailable::NotAnAddress)
}

/// Parses a sender, such as `Orderflow <orders@shop.example>`, and returns it with its domain in ASCII.
///
/// Unlike [`mailable`] it accepts addresses outside the public DNS, such as `orders@localhost`.
#[must_use]
pub fn sender(text: &str) -> Option<Mailbox> {
    if text.contains(char::is_control) {
        return None;
    }
    let Mailbox { name, email } = text.parse().ok()?;
    let address = email.to_string();
    let email = if address.is_ascii() { email } else { mailable(&address).ok()? };
    Some(Mailbox::new(name, email))
}

/// Checks RFC 5322, 3.2.3: words of these characters, separated by single dots.
fn is_dot_atom(local: &str) -> bool {
    let is_text = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.split('.').all(|word| !word.is_empty() && word.bytes().all(is_text))
}

/// Returns the domain in ASCII (IDNA, UTS 46) if it can be a name in the public DNS.
fn ascii_domain(domain: &str) -> Option<String> {
    // A URL's host may be percent-encoded, a mail domain may not.
    let Ok(Host::Domain(ascii)) = Host::parse(domain) else { return None };
    let is_label = |label: &str| {
        let is_text = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && is_text && !label.starts_with('-') && !label.ends_with('-')
    };
    let (_, top) = ascii.rsplit_once('.')?;
    let is_name = ascii.split('.').all(is_label) && top.bytes().any(|byte| byte.is_ascii_alphabetic());
    (is_name && !domain.contains('%')).then_some(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_is_one_mailbox() {
        let read = |text: &str| sender(text).map(|mailbox| mailbox.to_string());
        for (text, expected) in [
            ("orders@localhost", "orders@localhost"),
            ("Orderflow <orders@shop.example>", "Orderflow <orders@shop.example>"),
            ("orders@bücher.example", "orders@xn--bcher-kva.example"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for wrong in [
            "x",
            "Orderflow",
            "@shop.example",
            "orders@",
            "<orders@shop.example",
            "orders@shop.example, more@shop.example",
            "bestellungen-für@shop.example",
            "Shop\r\nBcc: all <orders@shop.example>",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    fn sent_to(text: &str) -> Result<String, NotMailable> {
        mailable(text).map(|address| address.to_string())
    }

    #[test]
    fn ordinary_addresses_are_mailable_as_they_are() {
        for text in [
            "ada@example.com",
            "ada.lovelace+shop@mail.example.co.uk",
            "o'brien@example.org",
            "a/b=c?d{e}|f~g!#$%&*^_`@example.org",
            "Ada@example.com",
            "1@2.example",
            "ada@xn--mller-kva.example",
        ] {
            assert_eq!(sent_to(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn non_ascii_domain_is_converted_to_ascii() {
        assert_eq!(sent_to("ada@müller.example").as_deref(), Ok("ada@xn--mller-kva.example"));
        assert_eq!(sent_to("ada@mu\u{308}ller.example").as_deref(), Ok("ada@xn--mller-kva.example"));
        assert_eq!(sent_to("ada@例え.テスト").as_deref(), Ok("ada@xn--r8jz45g.xn--zckzah"));
        assert_eq!(sent_to("ada@Example。org").as_deref(), Ok("ada@example.org"));
    }

    #[test]
    fn local_part_that_needs_smtputf8_or_quotes_is_refused() {
        for text in ["\"a b\"@example.org", "\"ada\"@example.org", "zoë@example.org", "用户@例え.テスト"] {
            assert_eq!(sent_to(text), Err(NotMailable::LocalPart), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_an_address_is_refused() {
        let label = format!("ada@{}.example", "a".repeat(64));
        let local = format!("{}@example.com", "a".repeat(65));
        let long = format!("ada@{}example.com", "a234567890.".repeat(23));
        for text in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "Ada <ada@example.com>",
            "ada@[192.0.2.1]",
            "ada@192.0.2.1",
            "ada@[IPv6:2001:db8::1]",
            "a b@c.de",
            "a@b@c.org",
            ".a@c.org",
            "a.@c.org",
            "a..b@c.org",
            "a@.org",
            "a@b..org",
            "a@b.org.",
            "a@-b.org",
            "a@b-.org",
            "a@b_c.org",
            "a@b.123",
            "a@ex%61mple.org",
            "a@b.org\r\nDATA",
            "a\r\n@b.org",
            " a@b.org",
            "a@b.org ",
            "a@b .org",
            "a,b@c.org",
            "a<b@c.org",
            &label,
            &local,
            &long,
        ] {
            assert_eq!(sent_to(text), Err(NotMailable::NotAnAddress), "{text:?}");
        }
    }
}
