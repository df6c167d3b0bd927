//! Each component's own PostgreSQL role and RabbitMQ user, created as an operator creates them.

use orderflow_service::Roster;
use orderflow_tests::{Shop, log_in, own::random_password, run};
use url::Url;

use crate::component::Component;

/// The prefix of the roles' names. The servers belong to the run, so no other roles conflict.
const PREFIX: &str = "faults";

/// The roles and users of a shop's components, all with one password.
#[derive(Debug)]
pub struct Credentials {
    password: String,
}

impl Credentials {
    /// Creates the roles and users of the front ends and of these services.
    ///
    /// # Panics
    /// Panics if one of the commands fails.
    pub async fn make(shop: &Shop, roster: &Roster) -> Self {
        let credentials = Self { password: random_password() };
        credentials.extend(shop, roster).await;
        credentials
    }

    /// Creates those of services added since, and grants all others the rights to their tables.
    ///
    /// # Panics
    /// Panics if one of the commands fails.
    pub async fn extend(&self, shop: &Shop, roster: &Roster) {
        let mut settings = shop.operator_settings();
        settings.push(("DATABASE_ROLE_PREFIX".to_owned(), PREFIX.to_owned()));
        let accounts = roster.names().into_iter().map(Component::Service).chain([Component::FrontEnd]);
        for account in accounts.map(|component| component.account().replace('-', "_").to_uppercase()) {
            for server in ["DATABASE", "AMQP"] {
                settings.push((format!("{server}_{account}_PASSWORD"), self.password.clone()));
            }
        }
        for arguments in [["rights", "apply"], ["topology", "apply"]] {
            let ended = run("orderflow", &arguments, &settings).await;
            assert_eq!(ended.code, Some(0), "orderflow {arguments:?}: {} {}", ended.out, ended.err);
        }
    }

    /// Returns this component's URL of the shop's database.
    #[must_use]
    pub fn database(&self, shop: &Shop, component: Component) -> Url {
        log_in(shop.database_url(), &Self::role(component), &self.password)
    }

    /// Returns the name of this component's role.
    #[must_use]
    pub fn role(component: Component) -> String {
        format!("{PREFIX}_{}", component.account().replace('-', "_"))
    }

    /// Returns this component's URL of the shop's virtual host.
    #[must_use]
    pub fn broker(&self, shop: &Shop, component: Component) -> Url {
        log_in(shop.broker_url("orderflow-web"), &format!("orderflow-{}", component.account()), &self.password)
    }
}
