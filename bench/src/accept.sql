WITH fresh AS MATERIALIZED (SELECT gen_random_uuid() AS id, gen_random_uuid() AS event_id),
placed AS (
    INSERT INTO orders.orders (id, number, status, version, total, currency, customer_name, customer_email, address_line1, city,
                               postal_code, country, payment_method, created_at, updated_at)
    SELECT fresh.id, fresh.id::text, status, version, total, currency, customer_name, customer_email, address_line1, city,
           postal_code, country, payment_method, now(), now()
    FROM bench.orders, fresh),
lines AS (
    INSERT INTO orders.items (order_id, line, sku, name, quantity, price)
    SELECT fresh.id, line, sku, name, quantity, price FROM bench.items, fresh),
keys AS (
    INSERT INTO orders.idempotency_keys (key, fingerprint, order_id, created_at)
    SELECT fresh.id::text, fingerprint, fresh.id, now() FROM bench.idempotency_keys, fresh),
logged AS (
    INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id,
                                     traceparent, data)
    SELECT fresh.id, version, fresh.event_id, event, source, now(), correlation_id, causation_id, traceparent, data
    FROM bench.event_log, fresh)
INSERT INTO messaging.outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, available_at)
SELECT fresh.event_id, fresh.id, event, source, now(), correlation_id, body, now() + interval '1 hour' FROM bench.outbox, fresh;
