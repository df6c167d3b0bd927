DROP FUNCTION messaging.claim(text, uuid, uuid, text);
DROP TABLE messaging.service_events;
DROP TABLE messaging.services;
