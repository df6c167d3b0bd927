//! Roles of PostgreSQL for the processes of a shop. They belong to the whole server, so each shop has its own, and drops them.

use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
use orderflow_service::store::Connection;
use orderflow_worker::roster;
use url::Url;

use crate::{Shop, examples::LOYALTY, run};

/// The password of every role that [`make`] makes.
pub const PASSWORD: &str = "of a role for this test";

/// What the roles of this shop are named after: what is random in its name.
#[must_use]
pub fn prefix(shop: &Shop) -> String {
    format!("t{}", &shop.name()[shop.name().len() - 20..])
}

/// The settings of an operator who makes the roles.
#[must_use]
pub fn operator(shop: &Shop) -> Vec<(String, String)> {
    let mut settings = shop.operator_settings();
    settings.push(("DATABASE_ROLE_PREFIX".to_owned(), prefix(shop)));
    settings.extend(names(&[]).map(|role| (format!("DATABASE_{}_PASSWORD", role.to_uppercase()), PASSWORD.to_owned())));
    settings
}

/// The database as this role sees it.
///
/// # Panics
/// Never: the URL has a host.
#[must_use]
pub fn database_as(shop: &Shop, role: &str) -> Url {
    let mut url = shop.database_url();
    url.set_username(&format!("{}_{role}", prefix(shop)))
        .and_then(|()| url.set_password(Some(PASSWORD)))
        .expect("a host");
    url
}

/// Makes the roles, also of these services that are registered.
///
/// # Panics
/// When they cannot be made.
pub async fn make(shop: &Shop, registered: &[&str]) {
    let mut settings = operator(shop);
    settings.extend(
        registered.iter().map(|name| (format!("DATABASE_{}_PASSWORD", name.to_uppercase()), PASSWORD.to_owned())),
    );
    let made = run("orderflow", &["rights", "apply"], &settings).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    // So that the database can be dropped while a session of theirs is just ending.
    for name in names(registered) {
        let role = format!("{}_{name}", prefix(shop));
        assert!(made.out.contains(&role), "{made:?}");
        shop.execute(&format!("GRANT {role} TO CURRENT_USER")).await;
    }
}

fn names<'n>(registered: &'n [&'n str]) -> impl Iterator<Item = &'n str> {
    ["web", "ops", "worker", "readonly"].into_iter().chain(roster().names()).chain(registered.iter().copied())
}

/// As [`Shop::close`], and drops the roles, which stay when the database goes.
///
/// # Panics
/// When something is left.
pub async fn close(shop: Shop) {
    let (server, name) = (shop.servers.database_url.clone(), prefix(&shop));
    shop.close().await;
    let mut connection = Connection::establish(server.as_str()).await.expect("the server can be reached");
    let drop: Vec<String> = names(&[LOYALTY.name]).map(|role| format!("DROP ROLE IF EXISTS {name}_{role};")).collect();
    connection.batch_execute(&drop.concat()).await.expect("nothing depends on them any more");
}
