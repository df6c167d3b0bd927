DROP VIEW email.v_mails;
CREATE VIEW email.v_mails AS SELECT order_id, kind, message_id, created_at, sent_at FROM email.mails;
ALTER TABLE email.mails DROP COLUMN held_back_at;
