//! Which roles and users programs are connected as, and what these may do. None of this is a finding: a shop may run
//! with one role and one user.

use std::collections::BTreeMap;

use orderflow_service::store::{Connection, StoreError};

use super::report::Checkup;
use crate::{
    broker::{Management, ManagementError},
    ops::words::some,
    store::checkup::{self, RoleConnections},
};

/// Reports the roles that are connected to the database.
///
/// # Errors
/// Returns database errors.
pub async fn roles(found: &mut Checkup, connection: &mut Connection) -> Result<(), StoreError> {
    let connected = checkup::connected_roles(connection).await?;
    found.saw("roles", described_roles(&connected));
    Ok(())
}

fn described_roles(connected: &[RoleConnections]) -> String {
    if connected.is_empty() {
        return "nobody else is connected".to_owned();
    }
    let all: Vec<String> = connected.iter().map(|one| format!("{} {}", one.role, one.connections)).collect();
    let unrestricted: Vec<String> =
        connected.iter().filter(|one| one.is_unrestricted).map(|one| one.role.clone()).collect();
    let all = format!("connections: {}", some(&all));
    if unrestricted.is_empty() {
        return all;
    }
    format!(
        "{all}. A program connected as {} can change every row, whichever service it runs; `orderflow rights apply` creates a role \
         for each",
        some(&unrestricted)
    )
}

/// Reports the users that are connected to RabbitMQ.
///
/// # Errors
/// See [`ManagementError`].
pub async fn users(found: &mut Checkup, management: &Management) -> Result<(), ManagementError> {
    let mut by_user: BTreeMap<String, usize> = BTreeMap::new();
    for one in management.connections().await? {
        *by_user.entry(one.user).or_default() += 1;
    }
    let all: Vec<String> = by_user.iter().map(|(user, connections)| format!("{user} {connections}")).collect();
    let mut seen = if all.is_empty() { "none".to_owned() } else { some(&all) };
    if by_user.contains_key("orderflow-worker") {
        seen.push_str(
            ". A worker connected as orderflow-worker can read the queues of every service; AMQP_<SERVICE>_PASSWORD creates a \
             user for each",
        );
    }
    found.saw("connections", seen);
    Ok(())
}

/// Reports whether front ends may still publish events that only older ones published.
///
/// # Errors
/// See [`ManagementError`].
pub async fn narrowing(found: &mut Checkup, management: &Management) -> Result<(), ManagementError> {
    if management.is_narrow().await? {
        found.saw("front ends", "orderflow-web can publish only order.*");
        return Ok(());
    }
    let older: Vec<String> = management.older_front_ends().await?.into_iter().map(|one| one.name).collect();
    let next = match older.is_empty() {
        true => "no older front end is connected that needs this, so `orderflow rights narrow` can end it".to_owned(),
        false => format!("older front ends need this: {}", some(&older)),
    };
    found.saw("front ends", format!("orderflow-web can publish every kind of event; {next}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unrestricted_role_is_named_with_what_it_can_do() {
        let role =
            |role: &str, is_unrestricted| RoleConnections { role: role.to_owned(), connections: 3, is_unrestricted };
        assert_eq!(described_roles(&[]), "nobody else is connected");
        let restricted = described_roles(&[role("orderflow_payment", false)]);
        assert_eq!(restricted, "connections: orderflow_payment 3");
        let owner = described_roles(&[role("orderflow_payment", false), role("shop", true)]);
        assert!(owner.contains("shop 3. A program connected as shop can change every row"), "{owner}");
    }
}
