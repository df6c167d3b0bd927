//! The manifests of the services, and the lists and settings beside them.

use orderflow_service::{Roster, Service, config::Setting};

use crate::region::by_hand;

const DEPLOYMENT: &str = include_str!("../templates/deployment.yaml");
const SCALED_OBJECT: &str = include_str!("../templates/scaled_object.yaml");

/// A manifest of each service in one file, which says where they come from.
fn each(roster: &Roster, template: &str, manifest: fn(&Service) -> String) -> String {
    let manifests: Vec<String> = roster.services().map(manifest).collect();
    format!("# `make generate` writes this file from generate/templates/{template}.\n{}", manifests.join("---\n"))
}

/// The workers of every service.
pub fn workers(roster: &Roster) -> String {
    each(roster, "deployment.yaml", deployment)
}

/// How many workers each service has.
pub fn scaling(roster: &Roster) -> String {
    each(roster, "scaled_object.yaml", scaled_object)
}

fn deployment(service: &Service) -> String {
    let named = DEPLOYMENT.replace("NAME", service.name).replace("ABOUT", service.about);
    named.replace("            # SECRETS\n", &secrets(service))
}

/// What a service is given from its Secret beside its role and user. What is its own may be absent: whether it needs that is for
/// the service to say.
fn secrets(service: &Service) -> String {
    let shared = service.also_reads.iter().map(|setting| (setting, ""));
    let own = service.settings.iter().map(|setting| (setting, ", optional: true"));
    let secrets: Vec<_> = shared.chain(own).filter(|(setting, _)| setting.secret).collect();
    if secrets.is_empty() {
        return String::new();
    }
    let variable = |(setting, optional): (&&Setting, &str)| {
        let (secret, name) = (service.name, setting.name);
        let from = format!("{{secretKeyRef: {{name: orderflow-{secret}, key: {name}{optional}}}}}");
        format!("            - name: {name}\n              valueFrom: {from}\n")
    };
    let variables: String = secrets.into_iter().map(variable).collect();
    format!(
        "            # What else this service has to hide. A worker that lacks a setting ends with status 2 and names it.\n{variables}"
    )
}

fn scaled_object(service: &Service) -> String {
    SCALED_OBJECT.replace("NAME", service.name)
}

/// What can be tuned of services and has no line by hand.
pub fn settings(roster: &Roster, text: &str) -> String {
    let settings = roster.services().flat_map(|service| service.settings);
    let missing = settings.filter(|setting| !setting.secret && by_hand(text, setting.name).is_none());
    missing.map(|setting| format!("{}: \"\"\n", setting.name)).collect()
}
