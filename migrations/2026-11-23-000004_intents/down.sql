DROP TABLE payment.intents;
