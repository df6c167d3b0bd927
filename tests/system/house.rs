//! The rules of docs/ARCHITECTURE.md that a test can check.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use orderflow_service::store::migrations::MigrationSet;
use orderflow_tests::project::{read, root};
use orderflow_worker::roster;

use crate::schema::schema_files;

/// The folders whose code ships.
const CODE: [&str; 3] = ["crates", "src", "workers/src"];

/// Name of the file of system tests that a service keeps in its folder.
const SERVICES_TESTS: &str = "system_tests.rs";

/// Returns the Rust files below a folder, by path from the root, with their code: without comments and unit tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let code = |text: String| {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        code.join("\n")
    };
    let is_code = |(name, _): &(String, String)| !name.ends_with(SERVICES_TESTS);
    files(folder).into_iter().filter(is_code).map(|(name, text)| (name, code(text))).collect()
}

/// Returns the code of everything that ships.
fn all_sources() -> Vec<(String, String)> {
    CODE.iter().flat_map(|folder| sources(folder)).collect()
}

/// Returns the Rust files below a folder, by path from the root, with their whole text.
fn files(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("it can be read");
        (path.strip_prefix(root()).expect("it is below the root").display().to_string(), text)
    };
    let all: Vec<_> = found.into_iter().map(read).collect();
    assert!(!all.is_empty(), "{folder} has no Rust files");
    all
}

/// Returns the folders of the services.
fn service_folders() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(root().join("workers/src/services")).expect("there are services").flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// Fails if a file outside `allowed` contains one of `words`.
fn only_in(folders: &[&str], words: &[&str], allowed: impl Fn(&str) -> bool, rule: &str) {
    let mut somewhere = false;
    for (name, code) in folders.iter().flat_map(|folder| sources(folder)) {
        for word in words.iter().filter(|word| code.contains(**word)) {
            assert!(allowed(&name), "{name} contains {word:?}: {rule}");
            somewhere = true;
        }
    }
    assert!(somewhere || allowed(""), "no file contains any of {words:?}: this check searches for the wrong words");
}

/// The crates that ship, each with the folder of its manifest. A crate may depend only on those before it.
const CRATES: [(&str, &str); 5] = [
    ("orderflow-events", "crates/events"),
    ("orderflow-service", "crates/service"),
    ("orderflow-order", "crates/order"),
    ("orderflow-worker", "workers"),
    ("orderflow", ""),
];

/// Cargo refuses cycles. It would accept a worker that depends on the front end and so rebuilds with every page.
#[test]
fn crate_depends_only_on_those_below_it() {
    for (place, (name, folder)) in CRATES.iter().enumerate() {
        let manifest = root().join(folder).join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("it can be read");
        let dependencies = manifest.split("[dependencies]").nth(1).expect("a section").split("\n[").next();
        let own = dependencies.unwrap_or_default().lines().filter_map(|line| line.split(['.', ' ']).next());
        for dependency in own.filter(|dependency| dependency.starts_with("orderflow")) {
            let is_below = CRATES.iter().take(place).any(|(below, _)| *below == dependency);
            assert!(is_below, "{name} depends on {dependency}, which is not below it");
        }
    }
}

#[test]
fn the_domain_does_no_io() {
    let io = ["lapin", "diesel", "tokio", "reqwest", "actix", "std::fs", "std::net", "async "];
    only_in(&["crates/order/src/domain"], &io, str::is_empty, "the domain does no IO");
}

/// If the network loses an answer, only a time-out on the client's side ends the query and discards the connection.
#[test]
fn every_database_call_has_a_time_limit() {
    // `bounded` puts a time-out of its own around a transaction or `outside_transaction`. In `other`, the mailer has a
    // pool of SMTP connections, and the health check only needs to get a connection.
    let bounded = [
        "crates/service/src/store/database.rs",
        "crates/order/src/placing/order_writer.rs",
        "crates/service/src/pipeline/prepare.rs",
        "crates/service/src/pipeline/record.rs",
    ];
    let other = ["workers/src/providers/smtp_mailer.rs", "crates/service/src/health.rs"];
    let allowed = |name: &str| bounded.contains(&name) || other.contains(&name);
    only_in(
        &["crates", "src/broker", "src/web", "src/store", "workers/src"],
        &[".connection().await"],
        allowed,
        "use Database::run, which has a bound",
    );
}

#[test]
fn handlers_see_neither_the_broker_nor_actix() {
    let words = ["lapin", "actix", "Delivery", "Publisher", "Relay"];
    only_in(&["workers/src/services"], &words, str::is_empty, "handlers decide, the pipeline acts");
    let manifest = read("workers/Cargo.toml");
    for library in ["actix", "lapin"] {
        assert!(!manifest.contains(&format!("\n{library}")), "the services' crate depends on {library}");
    }
}

#[test]
fn providers_are_called_through_their_guard_and_queues_that_call_one_are_paused_with_it() {
    // `dependencies.rs` sets the guards up.
    let services =
        || sources("workers/src/services").into_iter().filter(|(name, _)| !name.ends_with("/dependencies.rs"));
    let callers: Vec<_> = services().filter(|(_, code)| code.contains("Guarded<")).collect();
    assert!(!callers.is_empty(), "no service calls a provider: this check searches for the wrong words");
    for (name, code) in callers {
        assert!(
            code.contains(".guard.call("),
            "{name}: a call without the guard has no time-out and no circuit breaker"
        );
        assert!(
            code.contains("fn guard(&self)"),
            "{name}: without `guard` the queue does not pause when the provider is unavailable"
        );
    }
    let providers = ["dyn PaymentProvider", "dyn Carrier", "dyn Mailer"];
    for (name, code) in services() {
        let without = code.replace("Guarded<dyn ", "");
        assert!(!providers.iter().any(|word| without.contains(word)), "{name} uses a provider without a guard");
    }
}

#[test]
fn sql_is_in_stores() {
    let words = ["sql_query", "diesel::insert_into", "diesel::update", "diesel::delete", "::table"];
    let store = |name: &str| {
        // The simulated provider stands in for another company and keeps its own ledger.
        name.contains("src/store/")
            || name.ends_with("/store.rs")
            // A service's tables as Diesel declares them.
            || name.ends_with("schema.rs")
            // The inventory service's other store: the stock that operators read and set.
            || name == "workers/src/services/inventory/stock.rs"
            // The payment service's other store: rows that it writes while it calls the provider.
            || name == "workers/src/services/payment/intents.rs"
            || name.starts_with("workers/src/providers/simulated_")
    };
    only_in(&CODE, &words, store, "SQL is in src/store of each crate and in each service's store.rs");
}

#[test]
fn one_place_settles_and_one_publishes() {
    let settling = [".ack(", ".nack(", ".reject(", "basic_ack", "basic_nack", "basic_reject"];
    // `orderflow dlq` settles dead letters when an operator says so.
    let places = |name: &str| name == "crates/service/src/pipeline/settle.rs" || name == "src/broker/dead_letters.rs";
    only_in(&CODE, &settling, places, "only settle.rs settles, and dead_letters.rs for an operator");
    let publishing = ["basic_publish"];
    only_in(
        &CODE,
        &publishing,
        |name| name == "crates/service/src/broker/publishing.rs",
        "only publishing.rs publishes",
    );
}

/// The files that check whether an object exists, for which AMQP has passive declarations.
const PASSIVE: [&str; 2] = ["crates/service/src/broker/readiness.rs", "src/broker/dead_letters.rs"];

#[test]
fn applications_declare_nothing() {
    for word in ["queue_declare", "exchange_declare", "queue_bind"] {
        let passive = |name: &str| name.is_empty() || PASSIVE.contains(&name);
        only_in(&CODE, &[word], passive, "only operators create broker objects; applications only check for them");
    }
    for (name, code) in all_sources().into_iter().filter(|(name, _)| PASSIVE.contains(&name.as_str())) {
        assert_eq!(code.matches("_declare(").count(), code.matches("passive: true").count(), "{name}");
    }
}

/// Returns the schemas that the code declares.
fn schemas() -> Vec<String> {
    schema_files().into_iter().map(|(schema, _)| schema).collect()
}

/// Returns the paths that may write a schema: the service of the same name, unless listed here.
fn owners(schema: &str) -> Vec<String> {
    let named: &[&str] = match schema {
        "orders" => &[
            "crates/order/src/store/orders.rs",
            "crates/order/src/store/fold.rs",
            "crates/order/src/store/idempotency.rs",
            "workers/src/services/order/",
        ],
        "messaging" => &[
            "crates/service/src/store/event_log.rs",
            "crates/service/src/store/outbox.rs",
            "crates/service/src/store/inbox.rs",
            "crates/service/src/store/failures.rs",
            "crates/service/src/store/missing.rs",
            "crates/service/src/store/pace.rs",
            "crates/service/src/store/purged.rs",
            "crates/service/src/store/registered.rs",
            "crates/service/src/store/audits.rs",
        ],
        "operations" => {
            &["src/store/actions.rs", "src/store/replays.rs", "src/store/discarded.rs", "src/store/sessions.rs"]
        }
        "simulator" => &["workers/src/providers/simulated_payment.rs", "workers/src/providers/simulated_refund.rs"],
        service => return vec![format!("workers/src/services/{service}/")],
    };
    named.iter().map(ToString::to_string).collect()
}

/// Writes rows only to roll them back. Each service supplies rows of its own schema only.
const TRIAL: &str = "src/store/trial.rs";

/// Filled by a migration and otherwise only read.
const READ_ONLY: &str = "catalogue";

/// Reads products in addition to the stock that it writes.
const STOCK: &str = "workers/src/services/inventory/stock.rs";

#[test]
fn a_schema_is_written_by_its_own_service() {
    let written = |code: &str, schema: &str| {
        let statement =
            ["INSERT INTO", "UPDATE", "DELETE FROM"].iter().any(|verb| code.contains(&format!("{verb} {schema}.")));
        let dsl = ["insert_into", "update", "delete"].iter().any(|verb| code.contains(&format!("diesel::{verb}(")))
            && code.contains(&format!("schema::{schema}"));
        statement || dsl
    };
    let mut code = all_sources();
    code.retain(|(name, _)| name != TRIAL);
    for schema in schemas() {
        let writers: Vec<_> = code
            .iter()
            .filter(|(name, code)| written(code, &schema) && !(schema == READ_ONLY && name == STOCK))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(writers.is_empty(), schema == READ_ONLY, "who writes {schema}? {writers:?}");
        let owners = owners(&schema);
        for writer in writers {
            assert!(owners.iter().any(|owner| writer.starts_with(owner)), "{writer} writes {schema}");
        }
    }
}

/// The last shared migration from the time when services' migrations were shared too.
const LAST_OF_ALL: &str = "2026-11-28-000102_ended_sessions";

/// In the shared folder, a service's migration would conflict with the service's own. A folder of its own that the
/// service does not declare is silently skipped.
#[test]
fn a_service_brings_its_migrations_from_its_own_folder() {
    for entry in fs::read_dir(root().join("migrations")).expect("there are migrations").flatten() {
        let name = entry.file_name().into_string().expect("text");
        let later = (name.as_str() > LAST_OF_ALL).then(|| fs::read_to_string(entry.path().join("up.sql")));
        for schema in roster().names().iter().map(|service| service.replace('-', "_")) {
            let is_shared = |sql: &String| {
                !["TABLE", "VIEW", "INTO", "INDEX"].iter().any(|word| sql.contains(&format!("{word} {schema}.")))
            };
            let is_shared = later.as_ref().is_none_or(|sql| sql.as_ref().is_ok_and(is_shared));
            assert!(
                is_shared,
                "migrations/{name} is about {schema}: it belongs to workers/src/services/{schema}/migrations"
            );
        }
    }
    let with_migrations = service_folders().filter(|folder| folder.join("migrations").is_dir());
    let folders: BTreeSet<_> =
        with_migrations.filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned())).collect();
    let brought = roster().migrations().iter().map(MigrationSet::schema).collect();
    assert_eq!(
        folders, brought,
        "left: services with a folder of migrations; right: services that declare `.migrations(…)`"
    );
}

#[test]
fn every_file_of_tests_is_run() {
    let main = read("tests/system/main.rs");
    for (path, _) in sources("tests/system") {
        let name = path.trim_start_matches("tests/system/").trim_end_matches(".rs");
        let declared = name == "main" || name.contains('/') || main.contains(&format!("mod {name};\n"));
        assert!(declared, "tests/system/main.rs does not declare {name}, so its tests do not run");
    }
}

#[test]
fn every_services_schema_is_read_by_a_test() {
    let beside = service_folders().filter_map(|folder| fs::read_to_string(folder.join(SERVICES_TESTS)).ok());
    let tests: Vec<_> = sources("tests").into_iter().map(|(_, code)| code).chain(beside).collect();
    for (schema, file) in schema_files() {
        let file = fs::read_to_string(file).expect("it can be read");
        // Lines of the generated file look like `shipping.shipments (order_id) {`.
        let tables = file.lines().filter_map(|line| line.strip_suffix(") {")?.split_once(" ("));
        let tables: Vec<_> = tables.map(|(table, _)| table.trim()).collect();
        if let Some(service) = roster().services().find(|service| service.name.replace('-', "_") == schema) {
            let untried = tables.iter().find(|table| !service.writes.iter().any(|row| row.table == **table));
            assert_eq!(untried, None, "a table without a row in `.writes(…)` of {schema}");
        }
        let asks = |code: &str| tables.iter().any(|table| code.contains(table));
        let looked_at = tests.iter().any(|code| asks(code));
        assert!(looked_at || schema == READ_ONLY, "no test reads a table of the schema {schema}");
    }
}

/// The compiler ignores a folder that is not listed.
#[test]
fn every_service_is_listed() {
    let listed = roster().names().iter().map(|service| service.replace('-', "_")).collect();
    let folders: BTreeSet<_> =
        service_folders().filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned())).collect();
    assert_eq!(folders, listed, "left: the folders in workers/src/services; right: the list in its mod.rs");
}

#[test]
fn everything_that_people_rely_on_is_documented() {
    let readme = read("README.md");
    let dependencies = read("docs/DEPENDENCIES.md");
    let manifest = read("Cargo.toml");
    let table =
        manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).expect("there");
    for name in table.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name) {
        let own = name.starts_with("orderflow");
        assert!(own || dependencies.contains(&format!("`{name}`")), "docs/DEPENDENCIES.md does not mention {name}");
    }
    assert!(roster().settings().all(|setting| !setting.meaning.is_empty()));
    assert!(readme.contains("make demo") && readme.contains("make test"));
}

#[test]
fn every_bound_of_the_security_page_has_a_test() {
    let page = read("docs/SECURITY.md");
    let code: Vec<_> = CODE.iter().chain(&["tests"]).flat_map(|folder| files(folder)).collect();
    let exists = |name: &str| code.iter().any(|(_, code)| code.contains(&format!("fn {name}(")));
    let is_test = |text: &&str| {
        let is_name = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        is_name && text.matches('_').count() > 2 && !text.starts_with("orderflow_")
    };
    let (table, rest) = page.split_once("## Why these numbers").expect("two parts");
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.ends_with("| test |")) {
        let named: Vec<_> = row.rsplit('|').nth(1).expect("a last column").split('`').filter(is_test).collect();
        assert!(!named.is_empty(), "no test checks this: {row}");
        named.iter().for_each(|name| assert!(exists(name), "there is no test {name}"));
    }
    rest.split('`').filter(is_test).for_each(|name| assert!(exists(name), "there is no test {name}"));
}
