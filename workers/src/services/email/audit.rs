//! Audits mails: every planned mail is sent, except those that are held back (`MAIL_LIMIT`).

use orderflow_service::audit::{Check, ORPHAN, Rule, Subject};

pub const SUBJECT: Subject = Subject {
    from: "said FULL JOIN (
               SELECT order_id, bool_or(sent_at IS NULL AND held_back_at IS NULL AND created_at < $3) AS unsent,
                      bool_or(kind = 'declined') AS declined, bool_or(kind = 'shipped') AS shipped,
                      bool_or(kind = 'cancelled') AS cancelled
               FROM email.v_mails
               WHERE order_id > $1 AND order_id <= $2 GROUP BY order_id
           ) AS mail USING (order_id)
           FULL JOIN placed USING (order_id)",
    checks: &[
        Check {
            rule: Rule { name: "mail-orphan", remedy: ORPHAN },
            broken: "mail.unsent IS NOT NULL AND placed.number IS NULL",
            what: "there are mails for an order that does not exist",
        },
        Check {
            rule: Rule {
                name: "mail-uncaused",
                remedy: "its customer was informed of something that did not happen: write to the customer, and file the output of `orderflow why ORDER --json`",
            },
            broken: "(mail.declined AND NOT coalesce(payment_failed, false)) OR (mail.shipped AND NOT coalesce(shipment_created, false))
                     OR (mail.cancelled AND NOT coalesce(order_cancelled, false))",
            what: "a mail was planned that no logged event caused",
        },
    ],
    once_applied: &[
        Check {
            rule: Rule {
                name: "mail-unsent",
                remedy: "the customer was not informed: write to the customer, and file the output of `orderflow why ORDER --json`",
            },
            broken: "mail.unsent",
            what: "a mail was planned and never sent, though its event is applied",
        },
    ],
};
