//! The services in docker-compose.yml, their passwords, and Prometheus's targets.

use orderflow_service::{Roster, Service};

use crate::region::by_hand;

/// Compose's error for a missing variable.
const MISSING: &str = "run scripts/make-env.sh first";

/// Returns a container for each service. Hand-written settings of a service have an anchor such as `&payment_settings`;
/// a setting with a hand-written line gets no second one. A setting that a service reads in addition to the common ones
/// gets the value that the file has by hand for another program.
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

/// Returns the settings of a service without a hand-written line.
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

/// Returns the service's part of variable names: `GIFT_CARDS` in `GIFT_CARDS_WORKERS` and `AMQP_GIFT_CARDS_PASSWORD`.
fn variable(service: &Service) -> String {
    service.name.to_uppercase().replace('-', "_")
}

/// Returns the passwords that set-up assigns to the services' users and roles.
pub fn passwords(roster: &Roster, _: &str) -> String {
    let names =
        |what: &'static str| roster.services().map(move |service| format!("{what}_{}_PASSWORD", variable(service)));
    names("AMQP").chain(names("DATABASE")).map(|name| format!("{name}: ${{{name}:?{MISSING}}}\n")).collect()
}

pub fn targets(roster: &Roster, _: &str) -> String {
    let names: Vec<_> = roster.services().map(|service| service.name).collect();
    format!("- {{names: [{}], type: A, port: 8081, refresh_interval: 15s}}\n", names.join(", "))
}
