//! Services bring their own migrations, which run in their own schemas. The sets here belong to the tests; their
//! versions also exist among the shared migrations.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, FileBasedMigrations, MigrationHarness as _, embed_migrations};
use orderflow_events::{NewEvent, OrderCreated};
use orderflow_service::{
    Roster, Service,
    config::{DatabaseConfig, Source},
    handler::{Done, TransactionalHandler},
    preflight::NotSetUp,
    process::{self, RunError, Settings},
    store::{
        Connection, Holders, StoreError,
        migrations::{self, MigrateError, MigrationSet},
    },
};
use orderflow_tests::{Shop, VISA, project::root, run};

use crate::{
    commands::ended,
    database_setup::{EMPTY, execute},
};

/// Its schema sorts before the role's own.
const POINTS: MigrationSet = MigrationSet::new("a-points", || EMBEDDED);
const OTHER: MigrationSet = MigrationSet::new("other", || EMBEDDED);
const FOLDER: &str = "tests/migrations/points";

const EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/points");

/// Takes the strongest lock on a table that orders need.
const LOCKING: MigrationSet = MigrationSet::new("locking", || LOCKING_EMBEDDED);

const LOCKING_EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/locking");

async fn migrate(shop: &Shop, sets: &[MigrationSet]) -> Result<Vec<String>, MigrateError> {
    migrations::run(&DatabaseConfig::at(shop.database_url().to_string()), sets).await
}

async fn is_current(shop: &Shop, sets: &[MigrationSet]) -> bool {
    migrations::are_current(&mut shop.database().await, sets).await.expect("the database answers")
}

/// Returns every schema that keeps a list of migrations, with the folder of those migrations. The shared one is first.
fn folders() -> Vec<(String, PathBuf)> {
    let services = std::fs::read_dir(root().join("workers/src/services")).expect("there are services").flatten();
    let with_migrations = services
        .filter(|service| service.path().join("migrations").is_dir())
        .map(|service| (service.file_name().into_string().expect("text"), service.path().join("migrations")));
    [("public".to_owned(), root().join("migrations"))].into_iter().chain(with_migrations).collect()
}

/// Returns a harness like that of the `diesel` program with this schema in the URL's `search_path`.
async fn harness(shop: &Shop, schema: &str) -> AsyncMigrationHarness<Connection> {
    let mut connection = shop.database().await;
    connection.batch_execute(&format!("SET search_path = {schema}")).await.expect("it can be set");
    AsyncMigrationHarness::new(connection)
}

fn in_files(folder: &Path) -> FileBasedMigrations {
    FileBasedMigrations::from_path(folder).expect("they can be read")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_has_its_own_list_and_equal_versions_do_not_conflict() {
    let shop = Shop::open_without_queues().await;
    let shared = "SELECT count(*) FROM public.__diesel_schema_migrations";
    let before = shop.number(shared).await;
    let done = migrate(&shop, &[POINTS, OTHER]).await.expect("they can be migrated");
    let [points, other] = [POINTS, OTHER].map(|set| set.service);
    let expected = [points, other].map(|name| [format!("{name}/20261122000001"), format!("{name}/20261122000002")]);
    assert_eq!(done, expected.concat());
    assert_eq!(migrate(&shop, &[POINTS, OTHER]).await.expect("they can be migrated"), [""; 0]);
    for schema in ["a_points", "other"] {
        assert_eq!(shop.number(&format!("SELECT count(booked_at) FROM {schema}.bookings")).await, 0);
        assert_eq!(shop.number(&format!("SELECT count(*) FROM {schema}.__diesel_schema_migrations")).await, 2);
    }
    assert_eq!(shop.number(shared).await, before);
}

/// Makes the same comparison as `diesel migration list`, which shows a cross for each applied migration.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pending_for_diesel_after_migrating() {
    let shop = Shop::open_without_queues().await;
    migrate(&shop, &[POINTS]).await.expect("it can be migrated");
    let points = ("a_points".to_owned(), root().join(FOLDER));
    for (schema, folder) in folders().into_iter().chain([points]) {
        let mut harness = harness(&shop, &schema).await;
        let pending = tokio::task::block_in_place(|| harness.pending_migrations(in_files(&folder)));
        let pending: Vec<_> = pending.expect("they can be read").iter().map(|one| one.name().to_string()).collect();
        assert_eq!(pending, [""; 0], "{}", folder.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_can_be_undone_and_done_again() {
    let shop = Shop::open_without_queues().await;
    migrate(&shop, &[POINTS]).await.expect("it can be migrated");
    let points = ("a_points".to_owned(), root().join(FOLDER));
    let folders: Vec<_> = folders().into_iter().chain([points]).collect();
    for (schema, folder) in folders.iter().rev() {
        let mut harness = harness(&shop, schema).await;
        let undone = tokio::task::block_in_place(|| harness.revert_all_migrations(in_files(folder)));
        let undone = undone.expect("they can be reverted").len();
        assert_eq!(undone, std::fs::read_dir(folder).expect("it is there").count(), "{}", folder.display());
        let left = format!(
            "SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}' AND tablename <> '__diesel_schema_migrations'"
        );
        assert_eq!(shop.number(&left).await, 0, "a down.sql in {} leaves a table behind", folder.display());
        if schema != "public" {
            shop.execute(&format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)'";
    assert_eq!(shop.number(left).await, 0, "a down.sql leaves a schema behind");
    migrate(&shop, &orderflow_worker::roster().migrations()).await.expect("they can be applied again");
    assert!(is_current(&shop, &orderflow_worker::roster().migrations()).await);
}

/// A program from before services had lists, or one without this service, finds both lists.
#[tokio::test(flavor = "multi_thread")]
async fn list_of_a_service_is_not_mistaken_for_the_shared_one() {
    let shop = Shop::open_without_queues().await;
    migrate(&shop, &[POINTS]).await.expect("it can be migrated");
    // An earlier version created it in the role's own schema.
    execute(
        &shop,
        "CREATE SCHEMA AUTHORIZATION CURRENT_USER;
         DO $$ BEGIN EXECUTE format('ALTER TABLE public.__diesel_schema_migrations SET SCHEMA %I', current_user); END $$",
    )
    .await;
    assert!(is_current(&shop, &[]).await, "the list in a_points was mistaken for the shared one");
    assert!(is_current(&shop, &[POINTS]).await);
    assert_eq!(migrate(&shop, &[POINTS]).await.expect("it can be migrated"), [""; 0]);
    // Now no other schema has a list.
    execute(&shop, EMPTY).await;
    execute(
        &shop,
        "CREATE SCHEMA other; CREATE TABLE other.__diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on \
         timestamp NOT NULL DEFAULT now()); INSERT INTO other.__diesel_schema_migrations VALUES ('20261122000001'), ('20261122000002')",
    )
    .await;
    assert!(!is_current(&shop, &[OTHER]).await);
    let done = migrate(&shop, &[OTHER]).await.expect("it can be migrated");
    assert_eq!(done.first().map(String::as_str), Some("20261122000001"), "shared ones come first");
    assert!(shop.number("SELECT count(*) FROM public.__diesel_schema_migrations").await > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_without_rights_names_the_missing_grant() {
    let shop = Shop::open_without_queues().await;
    shop.execute(&format!("REVOKE CREATE ON DATABASE {} FROM PUBLIC, CURRENT_USER", shop.name())).await;
    let refusal = async |sets: &[MigrationSet]| {
        let refused = migrate(&shop, sets).await.expect_err("it has no rights").to_string();
        refused.split_once(": ").expect("it names the remedy").1.to_owned()
    };
    let grant = refusal(&[OTHER]).await;
    assert!(grant.starts_with("GRANT CREATE ON DATABASE"), "{grant}");
    shop.execute(&grant).await;
    execute(&shop, "CREATE SCHEMA other; REVOKE ALL ON SCHEMA other FROM PUBLIC, CURRENT_USER").await;
    let grant = refusal(&[OTHER]).await;
    assert!(grant.starts_with("GRANT USAGE, CREATE ON SCHEMA other"), "{grant}");
    shop.execute(&grant).await;
    assert_eq!(migrate(&shop, &[OTHER]).await.expect("it has them").len(), 2);
}

struct Nothing;

impl TransactionalHandler for Nothing {
    type Event = OrderCreated;

    async fn record(&self, _: &mut Connection, _: &[Arc<Done<OrderCreated, ()>>]) -> Result<Vec<NewEvent>, StoreError> {
        Ok(Vec::new())
    }
}

/// Returns the error of a worker of this service whose `RETRY_DELAYS` differ from the broker's, which it checks after
/// the database.
async fn refused(shop: &Shop, service: &str) -> RunError {
    let migrated = Service::side("a-points", "Has its tables.").migrations(|| EMBEDDED).needs::<()>();
    let old = Service::side("other", "Lacks its tables.").migrations(|| EMBEDDED).needs::<()>();
    let roster = Roster::new(vec![migrated.on("nothing", |()| Nothing).done(), old.on("nothing", |()| Nothing).done()]);
    let delays = ("RETRY_DELAYS".to_owned(), "3s".to_owned());
    let source: Source = shop.settings("orderflow-worker").into_iter().chain([delays]).collect();
    let queues = roster.select(&[format!("{service}.*")]).expect("it has a queue");
    let settings = Settings::read(&source, &roster, queues).expect("they are complete");
    let ended = tokio::task::spawn_blocking(|| process::run(settings)).await.expect("it does not panic");
    ended.expect_err("the worker refuses to start")
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_checks_only_the_tables_of_its_own_services() {
    let shop = Shop::open().await;
    migrate(&shop, &[POINTS]).await.expect("it can be migrated");
    let own = refused(&shop, "a-points").await;
    assert!(matches!(own, RunError::NotSetUp(NotSetUp::RetryDelays { .. })), "{own}");
    let lacking = refused(&shop, "other").await;
    assert!(matches!(lacking, RunError::NotSetUp(NotSetUp::Service { service: "other" })), "{lacking}");
}

/// A dump holds its locks until it ends. A migration that waited for one of them would block every new order behind it.
#[tokio::test(flavor = "multi_thread")]
async fn migration_gives_up_within_seconds_and_names_the_lock_holder() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let mut dump = shop.database().await;
    dump.batch_execute("SET application_name = 'pg_dump'; BEGIN; LOCK TABLE orders.orders IN ACCESS SHARE MODE")
        .await
        .expect("nobody else holds a lock");
    let began = Instant::now();
    let refused = migrate(&shop, &[LOCKING]).await.expect_err("the dump holds the lock");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let MigrateError::Locked(Holders(holders)) = &refused else { panic!("{refused:?}") };
    let [holder] = holders.as_slice() else { panic!("{holders:?}") };
    let pid = shop.number("SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_dump'").await;
    assert_eq!((i64::from(holder.pid), holder.program.as_str()), (pid, "pg_dump"));
    assert!(refused.to_string().contains(&format!("pid {pid}: pg_dump, role ")), "{refused}");
    web.order("MUG-BLUE", 1, VISA).await;
    dump.batch_execute("COMMIT").await.expect("it is open");
    assert_eq!(migrate(&shop, &[LOCKING]).await.expect("nobody holds the lock").len(), 1);
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 1).await;
    shop.close().await;
}

/// The command prints the same; here for the lock on its own list.
#[tokio::test(flavor = "multi_thread")]
async fn migrate_command_without_the_lock_names_its_holder() {
    let shop = Shop::open_without_queues().await;
    let mut holder = shop.database().await;
    let list = "public.__diesel_schema_migrations";
    holder
        .batch_execute(&format!("SET application_name = 'blocker'; BEGIN; LOCK TABLE {list} IN ACCESS EXCLUSIVE MODE"))
        .await
        .expect("nobody else holds a lock");
    let refused = run("orderflow", &["migrate"], &shop.operator_settings()).await;
    ended(&refused, 3, &["a lock could not be acquired in time", ": blocker, role "]);
}
