//! What sets one kind of mail apart from another.

use orderflow_events::EventData;

use super::templates::{Unwritable, View, Written};

/// An event that the customer gets a mail about.
pub trait Letter: EventData {
    /// What this kind of mail is called in rows and Message-IDs: `received`. An order gets one of each.
    const NAME: &'static str;
    /// Whether it is held back once its address had many within an hour: where a stranger can make us write it.
    const IS_LIMITED: bool = false;

    /// Writes the mail.
    ///
    /// # Errors
    /// When a template cannot be filled in; trying again cannot help.
    fn write(&self, order: &View) -> Result<Written, Unwritable>;
}
