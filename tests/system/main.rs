//! Tests of the whole system: real processes on real PostgreSQL and RabbitMQ.

mod admission;
mod bad_input;
mod breaker;
mod cancels;
mod commands;
mod dead_letters;
mod deployment;
mod doctor;
mod duplicates;
mod failures;
mod forward;
mod golden;
mod house;
mod mails;
mod outages;
mod placing;
mod poison;
mod privacy;
mod reading;
mod republish;
mod scaling;
mod schema;
mod setting_up;
mod stock;
mod topology;
mod why;
