DROP TABLE operations.ended_sessions;
