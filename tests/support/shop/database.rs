//! Creates a shop's database.

use std::env;

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_service::{
    config::DatabaseConfig,
    store::{Connection, migrations},
};
use orderflow_worker::roster;

use crate::Servers;

/// Any key that no other lock in this database has: the product locks elsewhere, in the shops' own databases.
const LOCK: i64 = 7;

/// The templates of this many test runs are kept, since several may run at the same time.
const KEPT: usize = 3;

/// The name of a run's template begins with this.
const TEMPLATE: &str = "migrated_";

#[derive(QueryableByName)]
struct Database {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Creates a database with the tables of a new shop.
///
/// The first shop of a test run migrates a template, and every shop gets a copy: copying a database costs less than
/// running all migrations in it. Without nextest, which numbers its runs, each database is migrated.
///
/// # Panics
/// Panics if it cannot be created.
pub(super) async fn create(servers: &Servers, name: &str) {
    let mut server = Connection::establish(servers.database_url.as_str()).await.expect("the database can be reached");
    let Ok(run) = env::var("NEXTEST_RUN_ID") else { return create_migrated(&mut server, servers, name).await };
    let template = format!("{TEMPLATE}{}", run.replace('-', "_"));
    // Until the copy is made, another run must not drop the template. The lock ends with the connection at the latest.
    execute(&mut server, &format!("SELECT pg_advisory_lock_shared({LOCK})")).await;
    while !templates(&mut server).await.contains(&template) {
        execute(&mut server, &format!("SELECT pg_advisory_unlock_shared({LOCK})")).await;
        make(&mut server, servers, &template).await;
        execute(&mut server, &format!("SELECT pg_advisory_lock_shared({LOCK})")).await;
    }
    execute(&mut server, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
}

/// Makes the template, unless another test has made it meanwhile.
async fn make(server: &mut Connection, servers: &Servers, template: &str) {
    // The lock ends with the connection at the latest.
    execute(server, &format!("SELECT pg_advisory_lock({LOCK})")).await;
    let existing = templates(server).await;
    if !existing.iter().any(|one| one == template) {
        for old in existing.iter().skip(KEPT - 1) {
            execute(server, &format!("DROP DATABASE IF EXISTS {old}")).await;
        }
        // It gets its name when it is complete: a test may be killed before that, and may still be connected.
        execute(server, "DROP DATABASE IF EXISTS unfinished_template WITH (FORCE)").await;
        create_migrated(server, servers, "unfinished_template").await;
        execute(server, &format!("ALTER DATABASE unfinished_template RENAME TO {template}")).await;
    }
    execute(server, &format!("SELECT pg_advisory_unlock({LOCK})")).await;
}

/// Returns the names of all templates, the newest first.
async fn templates(server: &mut Connection) -> Vec<String> {
    let query = format!(
        "SELECT datname::text AS name FROM pg_database WHERE starts_with(datname::text, '{TEMPLATE}') ORDER BY oid DESC"
    );
    let found: Vec<Database> = diesel::sql_query(query).load(server).await.expect("the list can be read");
    found.into_iter().map(|one| one.name).collect()
}

async fn create_migrated(server: &mut Connection, servers: &Servers, name: &str) {
    execute(server, &format!("CREATE DATABASE {name}")).await;
    let config = DatabaseConfig::at(servers.database(name).to_string());
    migrations::run(&config, &roster().migrations()).await.expect("the database can be migrated");
}

async fn execute(server: &mut Connection, sql: &str) {
    diesel::sql_query(sql).execute(server).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
