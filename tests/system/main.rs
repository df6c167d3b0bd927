//! Tests of the whole system: real processes on real PostgreSQL and RabbitMQ.

mod duplicates;
mod failures;
mod forward;
mod golden;
mod house;
mod outages;
mod scaling;
mod schema;
mod stock;
mod topology;
