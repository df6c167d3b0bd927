//! PostgreSQL roles for each kind of process, as repeatable statements.
//!
//! A role writes its own service's schema, and in the shared tables only rows of its own events and subscriptions.
//!
//! The owner of the tables is not among these roles. It bypasses row security, so a shop with one role works as before.

use diesel::sql_query;
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_service::{
    Roster,
    store::{Connection, StoreError},
};

/// The tables in schema `messaging` that services write, their privileges, and the column that shows a row's owner.
const SHARED_TABLES: [(&str, &str, Column); 7] = [
    // Append-only.
    ("event_log", "SELECT, INSERT", Column::Event),
    ("outbox", "SELECT, INSERT, UPDATE, DELETE", Column::Event),
    ("inbox", "SELECT, INSERT", Column::Queue("subscription")),
    ("attempts", "SELECT, INSERT, UPDATE, DELETE", Column::Queue("subscription")),
    ("dead_letters", "SELECT, INSERT, UPDATE", Column::Queue("subscription")),
    ("resent", "SELECT, INSERT, UPDATE, DELETE", Column::Queue("subscription")),
    ("queue_pace", "SELECT, INSERT, UPDATE, DELETE", Column::Queue("queue")),
];

/// The schemas that do not belong to a single service.
const COMMON_SCHEMAS: [&str; 4] = ["messaging", "orders", "catalogue", "operations"];

/// How long to wait for other hosts that do this. Each takes a second or two; shorter than our `statement_timeout`, so
/// that the error names a lock as the cause.
const TURN_TIMEOUT: &str = "25s";

/// How long to wait for a table lock. New orders queue behind a waiting lock request.
const LOCK_TIMEOUT: &str = "3s";

/// The advisory lock that serializes hosts that do this concurrently on one database: "orderrig" in ASCII.
pub const LOCK: i64 = 0x6f72_6465_7272_6967;

/// The column that shows which service owns a row.
#[derive(Debug, Clone, Copy)]
enum Column {
    /// An event's name.
    Event,
    /// A queue's name, which begins with its service's name.
    Queue(&'static str),
}

/// What a role may do.
#[derive(Debug, Clone)]
enum May {
    /// Front ends: place orders, and publish the order service's events.
    Serve,
    /// Console and commands.
    Operate,
    /// Workers of these services.
    Work(Vec<&'static str>),
    /// Reads everything.
    Read,
}

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name in PostgreSQL.
    pub name: String,
    /// Its part of the name of its password's setting: `PAYMENT` in `DATABASE_PAYMENT_PASSWORD`.
    pub setting: String,
    /// Its purpose.
    pub about: String,
    may: May,
}

/// Returns the roles for these services. Their names begin with the prefix.
#[must_use]
pub fn roles(roster: &Roster, prefix: &str) -> Vec<Role> {
    let role = |name: &str, about: String, may| Role {
        name: format!("{prefix}_{}", name.replace('-', "_")),
        setting: name.replace('-', "_").to_uppercase(),
        about,
        may,
    };
    let mut roles = vec![
        role("web", "front ends".to_owned(), May::Serve),
        role("ops", "console and commands".to_owned(), May::Operate),
        role("worker", "workers of all services".to_owned(), May::Work(roster.names())),
        role("readonly", "reading everything".to_owned(), May::Read),
    ];
    roles
        .extend(roster.names().into_iter().map(|name| role(name, format!("workers of {name}"), May::Work(vec![name]))));
    roles
}

/// Returns the statements that create the roles and grant their rights. They can be repeated, even while orders flow,
/// and revoke no right that a role needs.
#[must_use]
pub fn statements(roster: &Roster, roles: &[Role]) -> Vec<String> {
    let mut all: Vec<String> = roles.iter().map(create).collect();
    for (table, ..) in SHARED_TABLES {
        all.push(policy(table, "orderflow_read", "PUBLIC", "SELECT", "true"));
    }
    for role in roles {
        all.extend(grants(roster, role));
    }
    // Last: policies take effect only now, when all of them exist.
    all.extend(SHARED_TABLES.iter().map(|(table, ..)| secure(table)));
    all
}

/// Roles belong to the whole server, so the set-up of another database may create the same role concurrently.
fn create(Role { name, .. }: &Role) -> String {
    format!(
        "DO $$ BEGIN
    IF to_regrole('{name}') IS NULL THEN CREATE ROLE {name} LOGIN; END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$"
    )
}

/// Returns the schemas that a service writes.
fn schemas_of(service: &str) -> Vec<String> {
    match service {
        "order" => vec!["orders".to_owned()],
        // The simulated provider keeps its books in the same database.
        "payment" => vec!["payment".to_owned(), "simulator".to_owned()],
        _ => vec![service.replace('-', "_")],
    }
}

/// Collects the statements that grant a role its rights.
struct Rights<'r> {
    roster: &'r Roster,
    role: &'r str,
    schemas: Vec<String>,
    statements: Vec<String>,
}

fn grants(roster: &Roster, Role { name, may, .. }: &Role) -> Vec<String> {
    let of_services = roster.names().into_iter().flat_map(schemas_of);
    let schemas = COMMON_SCHEMAS.map(str::to_owned).into_iter().chain(of_services).collect();
    let mut rights = Rights { roster, role: name, schemas, statements: Vec::new() };
    rights.enter();
    match may {
        May::Serve => rights.serve(),
        May::Operate => rights.operate(),
        May::Work(services) => rights.work(services),
        May::Read => rights.read_all(),
    }
    rights.statements
}

impl Rights<'_> {
    /// Grants what every process needs to read.
    fn enter(&mut self) {
        let role = self.role;
        for schema in self.schemas.clone() {
            self.statements.push(in_schema(&schema, &format!("GRANT USAGE ON SCHEMA {schema} TO {role}")));
        }
        self.statements.push(read_lists_and_views(role, &self.schemas));
        let read = "messaging.services, messaging.service_events, messaging.event_archive";
        self.statements.push(format!("GRANT SELECT ON {read} TO {role}"));
    }

    fn serve(&mut self) {
        let role = self.role;
        self.write("orders");
        self.statements.push(format!("GRANT SELECT ON ALL TABLES IN SCHEMA catalogue TO {role}"));
        // For the order's page: what it waits for, and how fast that queue moves.
        let read = "messaging.queue_pace, messaging.attempts, messaging.dead_letters, messaging.inbox";
        self.statements.push(format!("GRANT SELECT ON {read} TO {role}"));
        let shared = SHARED_TABLES.into_iter().filter(|(table, ..)| ["event_log", "outbox"].contains(table));
        for (table, privileges, column) in shared {
            let condition = owned(self.roster, &["order"], column);
            self.share(table, privileges, &condition);
        }
    }

    fn operate(&mut self) {
        self.read_all();
        for schema in ["messaging", "operations", "inventory"] {
            self.write(schema);
        }
        let role = self.role;
        self.statements
            .push(format!("REVOKE INSERT, UPDATE, DELETE ON messaging.event_log, messaging.event_archive FROM {role}"));
        // The only way to move history out of the log: the function checks which orders may go.
        self.statements.push(format!(
            "GRANT EXECUTE ON FUNCTION messaging.archive_orders(uuid[], timestamptz, text[], text[]) TO {role}"
        ));
        for (table, ..) in SHARED_TABLES {
            self.share(table, "SELECT", "true");
        }
    }

    fn work(&mut self, services: &[&str]) {
        for schema in services.iter().flat_map(|service| schemas_of(service)) {
            self.write(&schema);
        }
        for (table, privileges, column) in SHARED_TABLES {
            let condition = owned(self.roster, services, column);
            self.share(table, privileges, &condition);
        }
    }

    fn read_all(&mut self) {
        for schema in self.schemas.clone() {
            let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {}", self.role);
            self.statements.push(in_schema(&schema, &grant));
        }
    }

    fn write(&mut self, schema: &str) {
        for what in ["SELECT, INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"] {
            let grant = format!("GRANT {what} IN SCHEMA {schema} TO {}", self.role);
            self.statements.push(in_schema(schema, &grant));
        }
    }

    /// Grants these privileges on a shared table, for rows that meet the condition.
    fn share(&mut self, table: &str, privileges: &str, condition: &str) {
        let role = self.role;
        self.statements.push(format!("GRANT {privileges} ON messaging.{table} TO {role}"));
        self.statements.push(policy(table, &format!("{role}_writes"), role, "ALL", condition));
    }
}

/// Guards the statement so that it runs only if the schema exists. A service without tables has no schema, nor does one
/// whose migrations have not run.
fn in_schema(schema: &str, statement: &str) -> String {
    format!("DO $$ BEGIN IF to_regnamespace('{schema}') IS NOT NULL THEN {statement}; END IF; END $$")
}

/// Returns the grants that every process needs: on the lists of applied migrations, and on the views that services
/// offer.
fn read_lists_and_views(role: &str, schemas: &[String]) -> String {
    let schemas: Vec<_> = schemas.iter().map(|schema| format!("'{schema}'")).collect();
    format!(
        "DO $$ DECLARE relation regclass; BEGIN
    FOR relation IN SELECT oid FROM pg_catalog.pg_class
        WHERE (relname = '__diesel_schema_migrations' AND relkind = 'r')
           OR (relkind = 'v' AND relname LIKE 'v\\_%' AND relnamespace::regnamespace::text IN ({}))
    LOOP EXECUTE format('GRANT SELECT ON %s TO {role}', relation); END LOOP;
END $$",
        schemas.join(", ")
    )
}

/// Returns the SQL condition under which a row belongs to one of these services.
fn owned(roster: &Roster, services: &[&str], column: Column) -> String {
    let list = |names: Vec<&str>| format!("'{{{}}}'::text[]", names.join(","));
    let services_list = list(services.to_vec());
    match column {
        Column::Queue(column) => format!("split_part({column}, '.', 1) = ANY ({services_list})"),
        Column::Event => {
            let chosen = roster.services().filter(|service| services.contains(&service.name));
            let kinds = chosen.flat_map(|service| service.publishes.iter().map(|event| event.as_str())).collect();
            format!("event = ANY ({}) OR split_part(event, '.', 1) = ANY ({services_list})", list(kinds))
        }
    }
}

/// Returns the statement that creates a policy, or replaces one that differs. Replacing locks the table for a moment,
/// so the statement leaves an unchanged policy alone.
fn policy(table: &str, name: &str, role: &str, command: &str, condition: &str) -> String {
    let check = if command == "SELECT" { String::new() } else { format!(" WITH CHECK ({condition})") };
    let definition = format!("FOR {command} TO {role} USING ({condition}){check}");
    let quoted = definition.replace('\'', "''");
    format!(
        "DO $$ BEGIN
    IF coalesce((SELECT obj_description(oid, 'pg_policy') FROM pg_catalog.pg_policy
                 WHERE polname = '{name}' AND polrelid = 'messaging.{table}'::regclass), '') <> '{quoted}' THEN
        DROP POLICY IF EXISTS {name} ON messaging.{table};
        CREATE POLICY {name} ON messaging.{table} {definition};
        COMMENT ON POLICY {name} ON messaging.{table} IS '{quoted}';
    END IF;
END $$"
    )
}

fn secure(table: &str) -> String {
    format!(
        "DO $$ BEGIN
    IF NOT (SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = 'messaging.{table}'::regclass) THEN
        ALTER TABLE messaging.{table} ENABLE ROW LEVEL SECURITY;
    END IF;
END $$"
    )
}

/// Returns the statement that sets a role's password by its SCRAM verifier.
#[must_use]
pub fn set_password(role: &Role, verifier: &str) -> String {
    format!("ALTER ROLE {} PASSWORD '{}'", role.name, verifier.replace('\'', "''"))
}

/// Runs these statements, all or none.
///
/// # Errors
/// Returns database errors, such as a role that may not create roles, or a table lock not obtained in time.
pub async fn run(connection: &mut Connection, statements: &[String]) -> Result<(), StoreError> {
    let all = async |connection: &mut Connection| {
        sql_query(format!("SET LOCAL lock_timeout = '{TURN_TIMEOUT}'")).execute(connection).await?;
        sql_query(format!("SELECT pg_advisory_xact_lock({LOCK})")).execute(connection).await?;
        sql_query(format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).execute(connection).await?;
        for statement in statements {
            sql_query(statement).execute(connection).await?;
        }
        Ok(())
    };
    connection.transaction::<_, StoreError, _>(all).await
}
