//! The manifests of the services, and the lists and settings beside them.

use orderflow_service::{Roster, Service};

use crate::region::is_by_hand;

const DEPLOYMENT: &str = include_str!("../templates/deployment.yaml");
const SCALED_OBJECT: &str = include_str!("../templates/scaled_object.yaml");

pub fn deployment(service: &Service) -> String {
    let secrets = service.settings.iter().filter(|setting| setting.secret).map(|setting| {
        let name = setting.name;
        let from = format!("{{secretKeyRef: {{name: orderflow, key: {name}, optional: true}}}}");
        format!("            - name: {name}\n              valueFrom: {from}\n")
    });
    let named = DEPLOYMENT.replace("NAME", service.name).replace("ABOUT", service.about);
    named.replace("            # SECRETS\n", &secrets.collect::<String>())
}

pub fn scaled_object(service: &Service) -> String {
    SCALED_OBJECT.replace("NAME", service.name)
}

/// What a kustomization lists.
pub fn files(roster: &Roster, _: &str) -> String {
    roster.services().map(|service| format!("- {}.yaml\n", service.name)).collect()
}

/// What can be tuned of services and has no line by hand.
pub fn settings(roster: &Roster, text: &str) -> String {
    let settings = roster.services().flat_map(|service| service.settings);
    let missing = settings.filter(|setting| !setting.secret && !is_by_hand(text, setting.name));
    missing.map(|setting| format!("{}: \"\"\n", setting.name)).collect()
}
