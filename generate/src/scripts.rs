//! The services in scripts.

use orderflow_service::{Roster, Service};

/// Returns the names of the services, and of those that need `TOKEN_SECRET`, as bash arrays.
pub fn services(roster: &Roster, _: &str) -> String {
    let signs = |service: &&Service| service.also_reads.iter().any(|setting| setting.name == "TOKEN_SECRET");
    let names = |services: Vec<&Service>| services.iter().map(|one| one.name).collect::<Vec<_>>().join(" ");
    let (all, signers) = (roster.services().collect(), roster.services().filter(signs).collect());
    format!("SERVICES=({}) SIGNERS=({})\n", names(all), names(signers))
}
