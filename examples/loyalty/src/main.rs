//! `loyalty`: a service outside the shop's programs that uses only their library. It books one point per 100 minor
//! units of a shipped order, and publishes an event about it.
//!
//! `loyalty migrate` creates its tables; `loyalty` runs until SIGTERM or Ctrl-C. docs/ADDING-A-SERVICE.md explains how
//! to register it.

mod book_points;
mod points_booked;
mod store;

use std::process::ExitCode;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use orderflow_service::{Roster, Service, events::EventData as _, program};

use book_points::BookPoints;
use points_booked::PointsBooked;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

fn service() -> Service {
    Service::side("loyalty", "Books points for shipped orders.")
        .publishes(&[PointsBooked::EVENT])
        .migrations(|| MIGRATIONS)
        .needs::<()>()
        .on("points", |()| BookPoints)
        .done()
}

fn main() -> ExitCode {
    let roster = Roster::new(vec![service()]);
    match std::env::args().nth(1).as_deref() {
        Some("migrate") => program::migrate("loyalty", &roster),
        _ => program::work("loyalty", &roster, &[]),
    }
}
