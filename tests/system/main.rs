//! Tests of the whole system: real processes on real PostgreSQL and RabbitMQ.

mod duplicates;
mod failures;
mod forward;
mod golden;
mod outages;
mod scaling;
mod stock;
mod topology;
