//! Whoever takes the mails, and what a mail is.

use std::fmt;

use futures::future::BoxFuture;
use lettre::{
    Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use orderflow_order::domain::mail_address;
use orderflow_service::provider_error::ProviderError;

/// One mail, in text and HTML. Its personal parts do not show in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Without angle brackets. Two mails with the same one are the same mail to every mail program.
    pub message_id: String,
    /// The recipient's name, where it is to be shown.
    pub to_name: Option<String>,
    /// The recipient's address.
    pub to_address: String,
    /// One line.
    pub subject: String,
    /// For programs and people that want no HTML.
    pub text: String,
    /// The same in HTML.
    pub html: String,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

/// A way for mails to leave.
pub trait Mailer: Send + Sync {
    /// The domain of the sender's address, which Message-IDs end with.
    fn domain(&self) -> &str;

    /// Hands a mail over. A mail that is handed over twice may be delivered twice, with the same Message-ID. Dropping
    /// the future leaves open whether the mail leaves.
    ///
    /// # Errors
    /// See [`ProviderError`]: for good when this recipient will never get it.
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), ProviderError>>;
}

/// The mail as it travels.
///
/// # Errors
/// For good, when the recipient's address cannot be one.
pub(super) fn compose(from: &Mailbox, mail: Mail) -> Result<Message, ProviderError> {
    // The rule by which the address was accepted, so that whatever is accepted can be sent to.
    let to = mail_address::mailable(&mail.to_address)
        .map_err(|_| ProviderError::for_good("no mail can be sent to the recipient's address"))?;
    // A name that is nothing but blanks or control characters is none.
    let name = mail.to_name.map(|name| tidy(&name)).filter(|name| !name.is_empty());
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(name, to))
        .subject(tidy(&mail.subject))
        .message_id(Some(format!("<{}>", mail.message_id)))
        // RFC 3834: so that nobody's absence note answers a machine.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
        .map_err(|_| ProviderError::for_good("the mail cannot be written down"))
}

/// One line without control characters: what people typed must not become a header of its own.
fn tidy(text: &str) -> String {
    text.split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use orderflow_order::domain::mail_address::sender;

    use super::*;

    fn mail() -> Mail {
        Mail {
            message_id: "1.received@shop.example".to_owned(),
            to_name: Some("Zoë Müller".to_owned()),
            to_address: "zoe@example.com".to_owned(),
            subject: "We have your order".to_owned(),
            text: "Grüße".to_owned(),
            html: "<p>Grüße</p>".to_owned(),
        }
    }

    fn composed(mail: Mail) -> String {
        let message = compose(&sender("Shop <orders@shop.example>").expect("a mailbox"), mail).expect("a mail");
        String::from_utf8(message.formatted()).expect("mails are ASCII")
    }

    #[test]
    fn a_mail_has_its_message_id_and_both_forms_and_is_ascii() {
        let text = composed(mail());
        assert!(text.contains("Message-ID: <1.received@shop.example>\r\n"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
        assert!(text.contains("multipart/alternative") && text.contains("text/plain") && text.contains("text/html"));
        assert!(text.is_ascii(), "{text}");
    }

    #[test]
    fn what_people_type_cannot_become_a_header() {
        let text = composed(Mail { to_name: Some("Eve\r\nBcc: all@example.com".to_owned()), ..mail() });
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_being_shown() {
        let from = sender("orders@shop.example").expect("a mailbox");
        let error = compose(&from, Mail { to_address: "zoe at example".to_owned(), ..mail() }).expect_err("no address");
        assert!(matches!(&error, ProviderError::ForGood { why } if !why.contains("zoe")), "{error}");
    }

    #[test]
    fn domain_beyond_ascii_is_sent_to_in_ascii() {
        let to = "ada@müller.example".to_owned();
        let from = sender("orders@bücher.example").expect("a mailbox");
        let message = compose(&from, Mail { to_address: to, ..mail() }).expect("a mail");
        assert_eq!(message.envelope().to()[0].to_string(), "ada@xn--mller-kva.example");
        assert_eq!(message.envelope().from().expect("a sender").to_string(), "orders@xn--bcher-kva.example");
        assert!(message.formatted().is_ascii());
    }

    #[test]
    fn a_mail_shows_nobody_in_logs() {
        assert_eq!(format!("{:?}", mail()), r#"Mail { message_id: "1.received@shop.example", .. }"#);
    }
}
