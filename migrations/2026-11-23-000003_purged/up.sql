-- A dead letter whose queue was purged by hand leaves the list in one of two more ways: its event was sent again, or
-- there was nothing to send.
ALTER TABLE messaging.dead_letters
    DROP CONSTRAINT dead_letters_left_by_check,
    ADD CONSTRAINT dead_letters_left_by_check
        CHECK (left_by IN ('replayed', 'discarded', 'died_again', 'republished', 'purged'));
