-- Every order inserts and deletes some four rows here. The oldest of a kind is found among those that are counted anyway.
DROP INDEX messaging.outbox_age_of_kind;
