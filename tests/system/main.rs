//! Tests of the whole system: real processes on real PostgreSQL and RabbitMQ.

mod forward;
mod golden;
mod topology;
