//! Mails: each that was planned is sent, but for those that are held back (`MAIL_LIMIT`).

use orderflow_service::audit::{Check, ORPHAN, Rule, Subject};

pub const SUBJECT: Subject = Subject {
    from: "said FULL JOIN (
               SELECT order_id, bool_or(sent_at IS NULL AND held_back_at IS NULL AND created_at < $3) AS unsent FROM email.v_mails
               WHERE order_id > $1 AND order_id <= $2 GROUP BY order_id
           ) AS mail USING (order_id)
           FULL JOIN placed USING (order_id)",
    checks: &[
        Check {
            rule: Rule { name: "mail-orphan", remedy: ORPHAN },
            broken: "mail.unsent IS NOT NULL AND placed.number IS NULL",
            what: "there are mails of an order that does not exist",
        },
    ],
    once_applied: &[
        Check {
            rule: Rule {
                name: "mail-unsent",
                remedy: "the customer does not know: write to them by hand, and file the output of `orderflow why ORDER --json`",
            },
            broken: "mail.unsent",
            what: "a mail was planned and never sent, though its event is applied",
        },
    ],
};
