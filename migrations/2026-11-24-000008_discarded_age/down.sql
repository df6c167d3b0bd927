DROP INDEX operations.discarded_age;
