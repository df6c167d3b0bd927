//! `loyalty`: a service outside the shop's programs, on their library alone. It books a point for each 100 minor units of an order
//! that has shipped, and says so by an event of its own.
//!
//! `loyalty migrate` makes its tables, `loyalty` works until SIGTERM or Ctrl-C. docs/ADDING-A-SERVICE.md registers it.

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
