-- Written by the email service alone.
CREATE SCHEMA email;

-- The intent to send a mail is written before it is sent; its Message-ID follows from order and kind,
-- so that a mail which a crash repeats is the same mail to every mail program.
CREATE TABLE email.mails (
    order_id   uuid        NOT NULL,
    kind       text        NOT NULL,
    message_id text        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz,
    PRIMARY KEY (order_id, kind)
);
