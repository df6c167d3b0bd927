//! scripts/make-env.sh: generates passwords for docker-compose.yml once, and adds those that a new version needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Output,
};

use tokio::process::Command;

use orderflow_tests::project::{read, root};

/// Runs a copy of scripts/make-env.sh in this directory.
async fn make_env(directory: &Path) -> Output {
    for folder in ["scripts", "rabbitmq", "monitoring"] {
        fs::create_dir_all(directory.join(folder)).expect("a folder");
    }
    for file in ["scripts/lib.sh", "scripts/make-env.sh", "rabbitmq/rabbitmq.conf", "monitoring/prometheus.yml"] {
        fs::copy(root().join(file), directory.join(file)).expect("a copy");
    }
    Command::new("bash").arg(directory.join("scripts/make-env.sh")).output().await.expect("it can be run")
}

/// Returns the file that scripts/make-env.sh writes.
pub(super) async fn written_env() -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let made = make_env(directory.path()).await;
    assert!(made.status.success(), "{made:?}");
    fs::read_to_string(directory.path().join(".env")).expect("it was written")
}

/// Returns the values that scripts/make-env.sh generates.
pub(super) async fn made_up() -> BTreeMap<String, String> {
    values(&written_env().await)
}

/// Parses the values of a file in the format of scripts/make-env.sh.
fn values(file: &str) -> BTreeMap<String, String> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn only_the_owner_can_read_the_passwords_and_all_differ() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(make_env(directory.path()).await.status.success());
    let mode = fs::metadata(directory.path().join(".env")).expect("there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let (one, other) = (made_up().await, made_up().await);
    let passwords: BTreeSet<_> = one.values().chain(other.values()).collect();
    assert_eq!(passwords.len(), one.len() + other.len(), "a password was generated twice");
    for ignored in [".gitignore", ".dockerignore"] {
        let lines = read(ignored);
        let kept_out = lines.lines().any(|line| line == ".env" || line == "*");
        assert!(kept_out && !lines.lines().any(|line| line == "!.env"), "{ignored} does not exclude .env");
    }
}

/// A new version may need more passwords, and those that existing volumes were created with must not change.
#[tokio::test]
async fn missing_passwords_are_added_and_nothing_else_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(".env");
    // A file from before each process had its own role and user. It has an empty value, which Compose refuses, and no
    // newline at its end.
    let before = "# mine\nPOSTGRES_PASSWORD=kept\nAMQP_ADMIN_PASSWORD = kept\nexport AMQP_WEB_PASSWORD=kept\nTOKEN_SECRET=\n\n\
                  WEB_PORT=9090";
    fs::write(&file, before).expect("it can be written");
    let added = make_env(directory.path()).await;
    assert!(added.status.success(), "{added:?}");
    let after = fs::read_to_string(&file).expect("there");
    assert!(after.starts_with(&format!("{before}\n")), "{after}");

    let (added, said) = (&after[before.len()..], String::from_utf8_lossy(&added.stdout).into_owned());
    let kept = ["POSTGRES_PASSWORD", "AMQP_ADMIN_PASSWORD", "AMQP_WEB_PASSWORD"];
    let wanted: BTreeSet<String> = made_up().await.into_keys().filter(|name| !kept.contains(&name.as_str())).collect();
    assert_eq!(values(added).into_keys().collect::<BTreeSet<_>>(), wanted);
    assert!(values(added).values().all(|password| password.len() >= 32), "{added}");
    for name in &wanted {
        assert!(said.contains(name.as_str()), "{name} was added silently: {said}");
    }
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);

    let again = make_env(directory.path()).await;
    assert!(again.status.success(), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing is added"), "{again:?}");
    assert_eq!(fs::read_to_string(&file).expect("there"), after);
}
