DROP TABLE simulator.refunds;
DELETE FROM simulator.charges WHERE outcome = 'voided';
ALTER TABLE simulator.charges
    DROP CONSTRAINT charges_outcome,
    ADD CONSTRAINT charges_outcome_check CHECK (outcome IN ('succeeded', 'declined', 'failing'));
DELETE FROM shipping.shipments WHERE status IN ('booking', 'cancelled');
ALTER TABLE shipping.shipments
    DROP CONSTRAINT shipments_status,
    ADD CONSTRAINT shipments_status_check CHECK (status IN ('created', 'refused'));
DELETE FROM inventory.reservations WHERE outcome IN ('released', 'cancelled');
ALTER TABLE inventory.reservations
    DROP CONSTRAINT reservations_outcome,
    DROP COLUMN released_at,
    ADD CONSTRAINT reservations_outcome_check CHECK (outcome IN ('reserved', 'rejected'));
DELETE FROM payment.payments WHERE status IN ('voided', 'refunded');
ALTER TABLE payment.payments
    DROP CONSTRAINT payments_status,
    DROP CONSTRAINT payments_charge,
    DROP CONSTRAINT payments_reason,
    DROP CONSTRAINT payments_refund,
    DROP COLUMN refund_id,
    DROP COLUMN reversed_at,
    ADD CONSTRAINT payments_status_check CHECK (status IN ('succeeded', 'declined')),
    ADD CONSTRAINT payments_check CHECK ((status = 'succeeded') = (charge_id IS NOT NULL)),
    ADD CONSTRAINT payments_check1 CHECK ((status = 'declined') = (reason IS NOT NULL));
