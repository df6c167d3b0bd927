//! The differences between the types of mails.

use orderflow_events::EventData;

use super::templates::{Unwritable, View, Written};

/// An event about which the customer gets a mail.
pub trait Letter: EventData {
    /// The name of this type of mail in rows and Message-IDs, such as `received`. An order gets one mail per type.
    const NAME: &'static str;
    /// Whether the mail is held back once its address got many within an hour, because strangers can cause it.
    const IS_LIMITED: bool = false;

    /// Writes the mail.
    ///
    /// # Errors
    /// Fails if the mail cannot be rendered; a retry cannot help.
    fn write(&self, order: &View) -> Result<Written, Unwritable>;
}
