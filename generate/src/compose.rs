//! The services in docker-compose.yml, their passwords, and where Prometheus finds them.

use orderflow_service::{Roster, Service};

use crate::region::by_hand;

/// What Compose says where a variable is missing.
const MISSING: &str = "run scripts/make-env.sh first";

/// A container for each service. What the file gives a service by hand has the anchor `&payment_settings`; a setting that has
/// a line there or is shared gets no second one. What a service reads although most workers do without it has the value that
/// the file gives it by hand for another program.
pub fn services(roster: &Roster, text: &str) -> String {
    roster.services().map(|service| container(service, text)).collect()
}

fn container(service: &Service, text: &str) -> String {
    let (name, variable) = (service.name, variable(service));
    let own = format!("{}_settings", name.replace('-', "_"));
    let inherited = if text.contains(&format!("&{own}\n")) {
        format!("[*worker_settings, *{own}]")
    } else {
        "*worker_settings".to_owned()
    };
    let role = format!("orderflow_{}:${{DATABASE_{variable}_PASSWORD:?{MISSING}}}", name.replace('-', "_"));
    let user = format!("orderflow-{name}:${{AMQP_{variable}_PASSWORD:?{MISSING}}}");
    format!(
        "{name}:\n  <<: *worker\n  environment:\n    <<: {inherited}\n    \
         DATABASE_URL: postgres://{role}@postgres:5432/orderflow\n    \
         AMQP_URL: amqp://{user}@rabbitmq:5672/orderflow\n\
         {}  command: [orderflow-worker, --queue, \"{name}.*\"]\n  scale: ${{{variable}_WORKERS:-1}}\n",
        settings(service, text)
    )
}

/// The settings of a service that has no line by hand for itself.
fn settings(service: &Service, text: &str) -> String {
    let line = |name: &str, value: &str| format!("    {name}: {value}\n");
    let or_default = |name: &str| line(name, &format!("${{{name}:-}}"));
    let shared = service.also_reads.iter().map(|setting| match by_hand(text, setting.name) {
        Some(value) => line(setting.name, value),
        None => or_default(setting.name),
    });
    let own = service.settings.iter().filter(|setting| by_hand(text, setting.name).is_none());
    shared.chain(own.map(|setting| or_default(setting.name))).collect()
}

/// What variables of a service are named after: `GIFT_CARDS` in `GIFT_CARDS_WORKERS` and `AMQP_GIFT_CARDS_PASSWORD`.
fn variable(service: &Service) -> String {
    service.name.to_uppercase().replace('-', "_")
}

/// The passwords that set-up gives to the services' users and roles.
pub fn passwords(roster: &Roster, _: &str) -> String {
    let names =
        |what: &'static str| roster.services().map(move |service| format!("{what}_{}_PASSWORD", variable(service)));
    names("AMQP").chain(names("DATABASE")).map(|name| format!("{name}: ${{{name}:?{MISSING}}}\n")).collect()
}

pub fn targets(roster: &Roster, _: &str) -> String {
    let names: Vec<_> = roster.services().map(|service| service.name).collect();
    format!("- {{names: [{}], type: A, port: 8081, refresh_interval: 15s}}\n", names.join(", "))
}
