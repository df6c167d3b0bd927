//! The services in docker-compose.yml, what people can set of them, and where Prometheus finds them.

use orderflow_service::{Roster, Service};

use crate::region::is_by_hand;

/// A container for each service. What the file gives a service by hand has the anchor `&payment_settings`; a setting that has
/// a line there or is shared gets no second one.
pub fn services(roster: &Roster, text: &str) -> String {
    roster.services().map(|service| container(service, text)).collect()
}

fn container(service: &Service, text: &str) -> String {
    let name = service.name;
    let own = format!("{}_settings", name.replace('-', "_"));
    let inherited = if text.contains(&format!("&{own}\n")) {
        format!("[*worker_settings, *{own}]")
    } else {
        "*worker_settings".to_owned()
    };
    let settings = service.settings.iter().filter(|setting| !is_by_hand(text, setting.name));
    let lines: String = settings.map(|setting| format!("    {0}: ${{{0}:-}}\n", setting.name)).collect();
    format!(
        "{name}:\n  <<: *worker\n  environment:\n    <<: {inherited}\n{lines}  command: [orderflow-worker, --queue, \"{name}.*\"]\n  \
         scale: ${{{}:-1}}\n",
        variable(service)
    )
}

/// The variable for how many workers a service has.
fn variable(service: &Service) -> String {
    format!("{}_WORKERS", service.name.to_uppercase().replace('-', "_"))
}

pub fn variables(roster: &Roster, _: &str) -> String {
    let names: Vec<_> = roster.services().map(variable).collect();
    format!("WORKERS=({})\n", names.join(" "))
}

pub fn targets(roster: &Roster, _: &str) -> String {
    let names: Vec<_> = roster.services().map(|service| service.name).collect();
    format!("- {{names: [{}], type: A, port: 8081, refresh_interval: 15s}}\n", names.join(", "))
}
