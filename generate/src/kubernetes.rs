//! The manifests of the services, and their settings.

use orderflow_service::{Roster, Service, config::Setting};

use crate::region::by_hand;

const DEPLOYMENT: &str = include_str!("../templates/deployment.yaml");
const SCALED_OBJECT: &str = include_str!("../templates/scaled_object.yaml");

/// Returns a file with a manifest of each service, whose header names the template.
fn each(roster: &Roster, template: &str, manifest: fn(&Service) -> String) -> String {
    let manifests: Vec<String> = roster.services().map(manifest).collect();
    format!("# `make generate` writes this file from generate/templates/{template}.\n{}", manifests.join("---\n"))
}

/// Returns the Deployments of all services.
pub fn workers(roster: &Roster) -> String {
    each(roster, "deployment.yaml", deployment)
}

/// Returns the autoscaling of all services.
pub fn scaling(roster: &Roster) -> String {
    each(roster, "scaled_object.yaml", scaled_object)
}

fn deployment(service: &Service) -> String {
    let named = DEPLOYMENT.replace("NAME", service.name).replace("ABOUT", service.about);
    named.replace("            # SECRETS\n", &secrets(service))
}

/// Returns the variables that a service gets from its Secret in addition to role and user. Its own settings are
/// optional: the service reports a missing one that it needs.
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
        "            # The service's other secrets. A worker that lacks a setting exits with status 2 and names it.\n{variables}"
    )
}

fn scaled_object(service: &Service) -> String {
    SCALED_OBJECT.replace("NAME", service.name)
}

/// Returns the services' settings without a hand-written line.
pub fn settings(roster: &Roster, text: &str) -> String {
    let settings = roster.services().flat_map(|service| service.settings);
    let missing = settings.filter(|setting| !setting.secret && by_hand(text, setting.name).is_none());
    missing.map(|setting| format!("{}: \"\"\n", setting.name)).collect()
}
