//! Back-up and restore, with the commands of docs/INSTALLING.md.

use std::{env, path::Path};

use orderflow_tests::{
    VISA, program_path,
    project::read,
    roles::{close, database_as, make, operator, prefix},
};
use reqwest::Method;
use tokio::process::Command;

use crate::{
    commands::with,
    database_setup::{EMPTY, execute},
    parts::start_workers,
    rights,
    roles::shop_with_roles,
};

/// Returns the command blocks of a section of docs/INSTALLING.md.
pub fn blocks(heading: &str) -> Vec<String> {
    let page = read("docs/INSTALLING.md");
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

/// Runs commands in bash, in this folder, with our programs in the PATH and only these settings. Returns their output.
async fn in_bash(folder: &Path, commands: &str, settings: &[(String, String)]) -> String {
    let ours = program_path("orderflow").parent().expect("a folder").display().to_string();
    let path = format!("{ours}:{}", env::var("PATH").expect("there is one"));
    let mut bash = Command::new("bash");
    bash.args(["-euxc", commands]).current_dir(folder).env_clear().env("PATH", path).envs(settings.iter().cloned());
    let ended = bash.kill_on_drop(true).output().await.expect("bash can be run");
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).expect("text")
}

/// Emptying the database and the broker and dropping the roles makes the servers as good as new.
#[tokio::test(flavor = "multi_thread")]
async fn documented_backup_is_restored_to_new_servers() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut shop = shop_with_roles().await;
    let web = shop.start_web().await;
    shop.start_worker(&["payment.*", "order.*"]).await;
    web.orders(3, "MUG-BLUE", VISA).await;
    // Each order is paid, and its next step is a message waiting for a service that is not running.
    shop.until_orders("paid", 3).await;
    shop.until_published().await;
    in_bash(folder.path(), &blocks("Backing up")[0], &shop.operator_settings()).await;

    shop.webs().clear();
    shop.workers().clear();
    execute(&shop, EMPTY).await;
    let roles =
        format!("SELECT string_agg(rolname, ',') FROM pg_roles WHERE starts_with(rolname, '{}')", prefix(&shop));
    for role in shop.text(&roles).await.split(',') {
        execute(&shop, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    }
    let queues = shop.manage(Method::GET, "queues/{vhost}").await;
    for queue in queues.as_array().expect("a list") {
        let name = queue["name"].as_str().expect("text");
        shop.manage(Method::DELETE, &format!("queues/{{vhost}}/{name}")).await;
    }

    // Counts events as missing without the usual wait of minutes.
    let settings = with(operator(&shop), &[("RECONCILE_AFTER", "1ms")]);
    let printed = in_bash(folder.path(), &blocks("Restoring")[0], &settings).await;
    assert!(
        printed.contains("inventory.payment-completed"),
        "the output does not name the republished events: {printed}"
    );
    make(&shop, &[]).await;
    rights::make_users(&shop).await;
    shop.start_web_with(&[("DATABASE_URL", database_as(&shop, "web").as_str())]).await;
    start_workers(&mut shop).await;
    shop.until_orders("shipped", 3).await;
    close(shop).await;
}
