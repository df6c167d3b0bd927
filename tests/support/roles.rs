//! PostgreSQL roles for the processes of a shop. Roles belong to the whole server, so each shop creates and drops its
//! own.

use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
use orderflow_service::store::Connection;
use orderflow_worker::roster;
use url::Url;

use crate::{Shop, examples::LOYALTY, log_in, run};

/// The password of every role that [`make`] creates.
pub const PASSWORD: &str = "of a role for this test";

/// Returns the prefix of this shop's role names: the random part of the shop's name.
#[must_use]
pub fn prefix(shop: &Shop) -> String {
    format!("t{}", &shop.name()[shop.name().len() - 20..])
}

/// Returns the settings of an operator who creates the roles.
#[must_use]
pub fn operator(shop: &Shop) -> Vec<(String, String)> {
    let mut settings = shop.operator_settings();
    settings.push(("DATABASE_ROLE_PREFIX".to_owned(), prefix(shop)));
    settings.extend(names(&[]).map(|role| (format!("DATABASE_{}_PASSWORD", role.to_uppercase()), PASSWORD.to_owned())));
    settings
}

/// Returns the database's URL, as this role.
///
/// # Panics
/// Never: the URL has a host.
#[must_use]
pub fn database_as(shop: &Shop, role: &str) -> Url {
    log_in(shop.database_url(), &format!("{}_{role}", prefix(shop)), PASSWORD)
}

/// Creates the roles, including those of these registered services.
///
/// # Panics
/// Panics if they cannot be created.
pub async fn make(shop: &Shop, registered: &[&str]) {
    let mut settings = operator(shop);
    settings.extend(
        registered.iter().map(|name| (format!("DATABASE_{}_PASSWORD", name.to_uppercase()), PASSWORD.to_owned())),
    );
    let made = run("orderflow", &["rights", "apply"], &settings).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    // Allows the database to be dropped while one of their sessions is still ending.
    for name in names(registered) {
        let role = format!("{}_{name}", prefix(shop));
        assert!(made.out.contains(&role), "{made:?}");
        shop.execute(&format!("GRANT {role} TO CURRENT_USER")).await;
    }
}

fn names<'n>(registered: &'n [&'n str]) -> impl Iterator<Item = &'n str> {
    ["web", "ops", "worker", "readonly"].into_iter().chain(roster().names()).chain(registered.iter().copied())
}

/// Like [`Shop::close`], but also drops the roles, which would outlive the database.
///
/// # Panics
/// Panics if something is left over.
pub async fn close(shop: Shop) {
    let (server, name) = (shop.servers.database_url.clone(), prefix(&shop));
    shop.close().await;
    let mut connection = Connection::establish(server.as_str()).await.expect("the server can be reached");
    let drop: Vec<String> = names(&[LOYALTY.name]).map(|role| format!("DROP ROLE IF EXISTS {name}_{role};")).collect();
    connection.batch_execute(&drop.concat()).await.expect("nothing depends on them any more");
}
