DROP INDEX messaging.attempts_due;
DROP TABLE messaging.queue_pace;
