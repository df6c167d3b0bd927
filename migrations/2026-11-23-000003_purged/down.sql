-- The older programs know only of a replay for what was sent again; what could not be sent was given up.
UPDATE messaging.dead_letters SET left_by = 'replayed' WHERE left_by = 'republished';
UPDATE messaging.dead_letters SET left_by = 'discarded' WHERE left_by = 'purged';
ALTER TABLE messaging.dead_letters
    DROP CONSTRAINT dead_letters_left_by_check,
    ADD CONSTRAINT dead_letters_left_by_check CHECK (left_by IN ('replayed', 'discarded', 'died_again'));
