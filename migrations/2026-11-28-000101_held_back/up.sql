-- A mail that is not sent because its address had enough of them: anybody can order in anybody's name.
ALTER TABLE email.mails ADD COLUMN held_back_at timestamptz;

CREATE OR REPLACE VIEW email.v_mails AS
    SELECT order_id, kind, message_id, created_at, sent_at, held_back_at FROM email.mails;
