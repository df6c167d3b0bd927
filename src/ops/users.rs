//! Finds Orderflow's RabbitMQ users that are missing, or whose rights in the virtual host differ from what they should
//! be.

use orderflow_service::{
    Roster,
    config::{Setting, Source, Users},
};

use super::lack::Lack;
use crate::{
    broker::{Management, ManagementError, UserRights, user_of},
    services::roster,
};

/// Returns the settings of the passwords of services' own users: `AMQP_PAYMENT_PASSWORD`, ….
pub fn password_settings() -> Vec<&'static Setting> {
    roster().names().into_iter().map(password_setting).collect()
}

fn password_setting(service: &str) -> &'static Setting {
    let user = user_of(service);
    let meaning = format!(
        "the password that `orderflow topology apply` gives to {user}, the user for workers of that service alone; unset: that user is \
         left as it is"
    );
    Setting::leaked_secret(format!("{}_PASSWORD", variable(&user)), meaning)
}

/// Returns `AMQP_GIFT_CARDS` for `orderflow-gift-cards`.
fn variable(user: &str) -> String {
    format!("AMQP_{}", user.trim_start_matches("orderflow-").replace('-', "_").to_uppercase())
}

/// Reads the passwords of services' own users into `users`.
pub fn read_passwords(source: &Source, users: &mut Users) {
    for name in roster().names() {
        if let Some(password) = source.secret(password_setting(name)) {
            users.services.insert(name, password);
        }
    }
}

/// Returns what is wrong with the users. Requires an administrator. `exist` are the names of all users.
///
/// # Errors
/// See [`ManagementError`].
pub async fn lacks(management: &Management, exist: &[String]) -> Result<Vec<Lack>, ManagementError> {
    let rights = management.rights().await?;
    let mut lacks = needed(orderflow_worker::roster(), exist, &rights);
    lacks.extend(management.wrongly_permitted(roster(), &rights).into_iter().map(|user| Lack {
        what: format!("The user {user} has other rights in this virtual host than it should have"),
        remedy: "`orderflow topology apply` sets them. A user that may read a queue may also purge it, and a user without topic rights may \
                 publish every kind of event"
            .to_owned(),
    }));
    Ok(lacks)
}

/// Checks that the required users exist and have rights: the front ends' user, and one for all workers or one for each
/// service.
fn needed(roster: &Roster, exist: &[String], rights: &[UserRights]) -> Vec<Lack> {
    let there = |user: &String| exist.contains(user);
    let may = |user: &String| rights.iter().any(|one| one.user == *user);
    let [front_ends, workers] = ["orderflow-web", "orderflow-worker"].map(str::to_owned);
    // If it exists, the users for each service may be there because of other virtual hosts.
    let is_needed = there(&workers) || !roster.names().into_iter().map(user_of).all(|user| may(&user));
    let mut users = vec![front_ends];
    users.extend(is_needed.then_some(workers));
    let lack = |user: &String| {
        if !there(user) {
            let remedy =
                format!("set {}_PASSWORD to its password, then run `orderflow topology apply`", variable(user));
            return Some(Lack { what: format!("RabbitMQ has no user {user}"), remedy });
        }
        (!may(user)).then(|| Lack {
            what: format!("The user {user} has no rights in this virtual host"),
            remedy: "`orderflow topology apply` gives it its rights; no password is needed".to_owned(),
        })
    };
    users.iter().filter_map(lack).collect()
}

#[cfg(test)]
mod tests {
    use crate::broker::Rights;

    use super::*;

    fn found(exist: &[&str], permitted: &[&str]) -> Vec<String> {
        let exist: Vec<String> = exist.iter().map(|user| (*user).to_owned()).collect();
        let of = |user: &&str| UserRights { user: (*user).to_owned(), rights: Rights::default(), topics: None };
        needed(orderflow_worker::roster(), &exist, &permitted.iter().map(of).collect::<Vec<_>>())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn missing_users_and_users_without_rights_are_found() {
        let needed = ["orderflow-web", "orderflow-worker"];
        assert_eq!(found(&needed, &needed), Vec::<String>::new());
        let own: Vec<String> = orderflow_worker::roster().names().into_iter().map(user_of).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).chain(["orderflow-web"]).collect();
        assert_eq!(found(&own, &own), Vec::<String>::new(), "a user for each service, and none for all");
        assert_eq!(
            found(&["orderflow-web", "root"], &["root"]),
            [
                "The user orderflow-web has no rights in this virtual host: `orderflow topology apply` gives it its \
                 rights; no password is needed",
                "RabbitMQ has no user orderflow-worker: set AMQP_WORKER_PASSWORD to its password, then run `orderflow \
                 topology apply`",
            ]
        );
    }
}
