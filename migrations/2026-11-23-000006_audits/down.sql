DROP TABLE messaging.audits;
