//! Backing up and restoring, by the commands that docs/INSTALLING.md has.

use std::{env, path::Path};

use orderflow_tests::{
    Shop, VISA, program_path,
    roles::{close, database_as, make, operator},
};
use reqwest::Method;
use tokio::process::Command;

use crate::{
    commands::with,
    database_setup::{EMPTY, execute},
    deployment::read,
    parts::start_workers,
    rights,
};

/// The commands of a section of docs/INSTALLING.md, each block by itself.
pub fn blocks(heading: &str) -> Vec<String> {
    let page = read("docs/INSTALLING.md");
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

/// Runs commands in bash, in this folder, with our programs and these settings alone. Returns what they print.
async fn in_bash(folder: &Path, commands: &str, settings: &[(String, String)]) -> String {
    let ours = program_path("orderflow").parent().expect("a folder").display().to_string();
    let path = format!("{ours}:{}", env::var("PATH").expect("there is one"));
    let mut bash = Command::new("bash");
    bash.args(["-euxc", commands]).current_dir(folder).env_clear().env("PATH", path).envs(settings.iter().cloned());
    let ended = bash.kill_on_drop(true).output().await.expect("bash can be run");
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stdout).expect("text")
}

/// The database and the broker of another shop stand for servers that are new: its roles do not exist, and it has no queues.
#[tokio::test(flavor = "multi_thread")]
async fn backup_is_restored_to_new_servers_as_the_page_says() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut first = Shop::open().await;
    let web = first.start_web().await;
    first.start_worker(&["payment.*", "order.*"]).await;
    web.orders(3, "MUG-BLUE", VISA).await;
    // Paid, and the rest of each order is a message that waits for a service that does not run.
    first.until_orders("paid", 3).await;
    first.until_published().await;
    in_bash(folder.path(), &blocks("Backing up")[0], &first.operator_settings()).await;
    first.start_worker(&[]).await;
    first.until_orders("shipped", 3).await;
    first.close().await;

    let mut second = Shop::open().await;
    execute(&second, EMPTY).await;
    let queues = second.manage(Method::GET, "queues/{vhost}").await;
    for queue in queues.as_array().expect("a list") {
        let name = queue["name"].as_str().expect("text");
        second.manage(Method::DELETE, &format!("queues/{{vhost}}/{name}")).await;
    }
    // What is some seconds old is missing for a test.
    let settings = with(operator(&second), &[("RECONCILE_AFTER", "1ms")]);
    let printed = in_bash(folder.path(), &blocks("Restoring")[0], &settings).await;
    assert!(printed.contains("inventory.payment-completed"), "it does not say what it sends again: {printed}");
    make(&second, &[]).await;
    rights::make_users(&second).await;
    second.start_web_with(&[("DATABASE_URL", database_as(&second, "web").as_str())]).await;
    start_workers(&mut second).await;
    second.until_orders("shipped", 3).await;
    close(second).await;
}
