//! The generated schema files match the migrations.

use std::{collections::BTreeSet, fs, path::PathBuf};

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::RunQueryDsl as _;
use orderflow_tests::{
    Shop,
    project::{read, root},
};

/// Selects the columns of all our tables in the form of the generated files: `orders.items.line -> Int2`.
const COLUMNS: &str = "
SELECT format('%s.%s.%s -> %s', table_schema, table_name, column_name,
    CASE WHEN udt_name = '_text' THEN 'Array<Nullable<Text>>'
         WHEN is_nullable = 'YES' THEN format('Nullable<%s>', initcap(udt_name)) ELSE initcap(udt_name) END) AS text
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('public', 'pg_catalog', 'information_schema')
    AND table_name <> '__diesel_schema_migrations'";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    text: String,
}

/// Returns every schema with its generated file, from the list that `make schema` uses.
pub fn schema_files() -> Vec<(String, PathBuf)> {
    let list = read("diesel.toml");
    let name = |line: &str| Some(line.strip_prefix("[print_schema.")?.strip_suffix(']')?.to_owned());
    let file = |line: &str| Some(root().join(line.strip_prefix("file = \"")?.strip_suffix('"')?));
    let files: Vec<_> = list.lines().filter_map(name).zip(list.lines().filter_map(file)).collect();
    assert!(!files.is_empty(), "diesel.toml names no schema");
    files
}

/// Returns the columns in the generated files, in the same form.
fn generated() -> BTreeSet<String> {
    let mut columns = BTreeSet::new();
    for (_, file) in schema_files() {
        let text = fs::read_to_string(file).expect("it can be read");
        let mut table = String::new();
        for line in text.lines().map(str::trim) {
            if let Some((name, _)) = line.strip_suffix('{').and_then(|line| line.trim().split_once(" (")) {
                table = name.to_owned();
            } else if let Some((column, kind)) = line.trim_end_matches(',').split_once(" -> ")
                && !line.starts_with("diesel::")
            {
                columns.insert(format!("{table}.{column} -> {kind}"));
            }
        }
    }
    columns
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generated_files_are_those_of_the_migrations() {
    let shop = Shop::open_without_queues().await;
    let rows: Vec<Row> = diesel::sql_query(COLUMNS).load(&mut shop.database().await).await.expect("it can be read");
    let live: BTreeSet<String> = rows.into_iter().map(|row| row.text).collect();
    assert_eq!(generated(), live, "run `make schema`; if it does not write a schema, add the schema to diesel.toml");
    // The compiler does not check a file that is not included.
    for (schema, file) in schema_files() {
        let parent = file.with_file_name("mod.rs");
        let included = fs::read_to_string(&parent).expect("it can be read");
        let module = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let is_included = included.contains(&format!("include!(\"{schema}.rs\");"))
            || included.lines().any(|line| line == format!("mod {module};"));
        assert!(is_included, "{} does not include {schema}", parent.display());
    }
}
