//! Mails and the interface to mailers.

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

/// One mail, in text and HTML. Its `Debug` output omits personal data, so that it does not appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// The Message-ID, without angle brackets. Mail programs treat mails with the same Message-ID as the same mail.
    pub message_id: String,
    /// The recipient's name, if it should be shown.
    pub to_name: Option<String>,
    /// The recipient's address.
    pub to_address: String,
    /// The subject, one line.
    pub subject: String,
    /// The content as plain text.
    pub text: String,
    /// The same content as HTML.
    pub html: String,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("message_id", &self.message_id).finish_non_exhaustive()
    }
}

/// Sends mails.
pub trait Mailer: Send + Sync {
    /// Returns the domain of the sender's address. Message-IDs end with it.
    fn domain(&self) -> &str;

    /// Sends a mail. A mail that is sent twice may be delivered twice, with the same Message-ID. If the future is
    /// dropped, the mail may or may not be sent.
    ///
    /// # Errors
    /// See [`ProviderError`]. Permanent if this recipient can never get the mail.
    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), ProviderError>>;
}

/// Composes the message to send.
///
/// # Errors
/// Permanent if the recipient's address is invalid.
pub(super) fn compose(from: &Mailbox, mail: Mail) -> Result<Message, ProviderError> {
    // The same rule by which the address was accepted, so that every accepted address can be sent to.
    let to = mail_address::mailable(&mail.to_address)
        .map_err(|_| ProviderError::permanent("no mail can be sent to the recipient's address"))?;
    // A name of only blanks or control characters counts as no name.
    let name = mail.to_name.map(|name| tidy(&name)).filter(|name| !name.is_empty());
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(name, to))
        .subject(tidy(&mail.subject))
        .message_id(Some(format!("<{}>", mail.message_id)))
        // RFC 3834: prevents automatic replies, such as absence notes.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
        .map_err(|_| ProviderError::permanent("the mail cannot be composed"))
}

/// Returns the text as one line without control characters, so that user input cannot add a header.
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
    fn mail_has_its_message_id_text_and_html_and_is_ascii() {
        let text = composed(mail());
        assert!(text.contains("Message-ID: <1.received@shop.example>\r\n"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
        assert!(text.contains("multipart/alternative") && text.contains("text/plain") && text.contains("text/html"));
        assert!(text.is_ascii(), "{text}");
    }

    #[test]
    fn user_input_cannot_add_a_header() {
        let text = composed(Mail { to_name: Some("Eve\r\nBcc: all@example.com".to_owned()), ..mail() });
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    }

    #[test]
    fn invalid_address_is_refused_and_not_shown() {
        let from = sender("orders@shop.example").expect("a mailbox");
        let error =
            compose(&from, Mail { to_address: "zoe at example".to_owned(), ..mail() }).expect_err("an invalid address");
        assert!(matches!(&error, ProviderError::Permanent { why } if !why.contains("zoe")), "{error}");
    }

    #[test]
    fn non_ascii_domain_is_encoded_in_ascii() {
        let to = "ada@müller.example".to_owned();
        let from = sender("orders@bücher.example").expect("a mailbox");
        let message = compose(&from, Mail { to_address: to, ..mail() }).expect("a mail");
        assert_eq!(message.envelope().to()[0].to_string(), "ada@xn--mller-kva.example");
        assert_eq!(message.envelope().from().expect("a sender").to_string(), "orders@xn--bcher-kva.example");
        assert!(message.formatted().is_ascii());
    }

    #[test]
    fn debug_output_of_a_mail_has_no_personal_data() {
        assert_eq!(format!("{:?}", mail()), r#"Mail { message_id: "1.received@shop.example", .. }"#);
    }
}
