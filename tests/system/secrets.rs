//! In Compose and on Kubernetes each process has its own PostgreSQL role and RabbitMQ user, and only the secrets that
//! it needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use orderflow::{broker::user_of, store::rights};
use orderflow_tests::project::read;
use orderflow_worker::roster;
use tokio::process::Command;
use url::Url;

use super::{
    deployment::{self, known_settings},
    kubernetes::{self, Given, environment, pods, whole_secret},
    passwords::made_up,
};

/// Each process with its PostgreSQL role, its RabbitMQ user and all settings with secrets that it receives. A service
/// without a row receives [`OF_A_WORKER`].
const PROCESSES: [(&str, &str, &str, &[&str]); 10] = [
    ("web", "orderflow_web", "orderflow-web", &["AMQP_URL", "DATABASE_URL", "TOKEN_SECRET"]),
    (
        "console",
        "orderflow_ops",
        "orderflow-ops",
        &["AMQP_ADMIN_URL", "DATABASE_URL", "OPERATOR_TOKENS", "TOKEN_SECRET"],
    ),
    // Operators' commands, in Compose and on Kubernetes.
    ("orderflow", "orderflow_ops", "orderflow-ops", &["AMQP_ADMIN_URL", "DATABASE_URL"]),
    ("operator", "orderflow_ops", "orderflow-ops", &["AMQP_ADMIN_URL", "DATABASE_URL"]),
    ("audit", "orderflow_ops", "", &["DATABASE_URL"]),
    (
        "payment",
        "orderflow_payment",
        "orderflow-payment",
        &["AMQP_URL", "DATABASE_URL", "SIMULATOR_DATABASE_URL", "STRIPE_SECRET_KEY"],
    ),
    ("inventory", "orderflow_inventory", "orderflow-inventory", OF_A_WORKER),
    ("shipping", "orderflow_shipping", "orderflow-shipping", OF_A_WORKER),
    ("email", "orderflow_email", "orderflow-email", &["AMQP_URL", "DATABASE_URL", "SMTP_URL", "TOKEN_SECRET"]),
    ("order", "orderflow_order", "orderflow-order", OF_A_WORKER),
];

const OF_A_WORKER: &[&str] = &["AMQP_URL", "DATABASE_URL"];

/// Secrets that set-up receives in addition to the passwords of each service's role and user.
const OF_SETUP: [&str; 8] = [
    "AMQP_ADMIN_URL",
    "AMQP_INSPECTOR_PASSWORD",
    "AMQP_OPS_PASSWORD",
    "AMQP_VIEWER_PASSWORD",
    "AMQP_WEB_PASSWORD",
    "DATABASE_OPS_PASSWORD",
    "DATABASE_URL",
    "DATABASE_WEB_PASSWORD",
];

/// Returns a process's role, user and secrets.
fn row(process: &str) -> (String, String, BTreeSet<String>) {
    let names = |settings: &[&str]| settings.iter().map(|name| (*name).to_owned()).collect();
    match PROCESSES.iter().find(|(name, ..)| *name == process) {
        Some((_, role, user, secrets)) => ((*role).to_owned(), (*user).to_owned(), names(secrets)),
        None => {
            assert!(roster().has(process), "{process} has no row in PROCESSES");
            (format!("orderflow_{}", process.replace('-', "_")), user_of(process), names(OF_A_WORKER))
        }
    }
}

/// Returns the name of the setting with a role's or user's password: `DATABASE_PAYMENT_PASSWORD` for
/// `orderflow_payment`.
fn password_setting(of: &str, name: &str) -> String {
    let name = name.trim_start_matches("orderflow").trim_start_matches(['_', '-']);
    format!("{of}_{}_PASSWORD", name.replace('-', "_").to_uppercase())
}

fn user_and_password(url: &str) -> (String, String) {
    let url: Url = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
    (url.username().to_owned(), url.password().expect("it has a password").to_owned())
}

/// Checks the settings of all processes of an installation. Each process except set-up may also receive `optional`.
async fn check(given: BTreeMap<String, BTreeMap<String, String>>, optional: &[&str]) {
    let known = known_settings().await;
    let secrets = |process: &str| -> BTreeSet<String> {
        given[process].keys().filter(|name| known.get(*name) == Some(&true)).cloned().collect()
    };
    let of_services =
        roster().names().into_iter().flat_map(|service| ["AMQP", "DATABASE"].map(|of| password_setting(of, service)));
    let of_setup: BTreeSet<_> = OF_SETUP.map(str::to_owned).into_iter().chain(of_services).collect();
    assert_eq!(secrets("setup"), of_setup, "set-up");
    let setup = &given["setup"];
    let [owner, administrator] = ["DATABASE_URL", "AMQP_ADMIN_URL"].map(|name| user_and_password(&setup[name]));
    assert_eq!((owner.0.as_str(), administrator.0.as_str()), ("orderflow", "orderflow-admin"));

    for (process, settings) in given.iter().filter(|(process, _)| *process != "setup") {
        let (role, user, mut expected) = row(process);
        expected.extend(optional.iter().map(|name| (*name).to_owned()));
        assert_eq!(secrets(process), expected, "{process} has an unneeded secret, or lacks one");
        let is = (role.clone(), setup[&password_setting("DATABASE", &role)].clone());
        assert_eq!(user_and_password(&settings["DATABASE_URL"]), is, "{process} in PostgreSQL");
        for url in ["AMQP_URL", "AMQP_ADMIN_URL"].iter().filter_map(|name| settings.get(*name)) {
            let is = (user.clone(), setup[&password_setting("AMQP", &user)].clone());
            assert_eq!(user_and_password(url), is, "{process} in RabbitMQ");
        }
        for (whose, (_, password)) in [("the database's owner", &owner), ("RabbitMQ's administrator", &administrator)] {
            let told = settings.iter().find(|(_, value)| value.contains(password));
            assert_eq!(told, None, "{process} has the password of {whose}");
        }
    }
}

#[tokio::test]
async fn each_container_has_only_the_secrets_of_its_process() {
    check(deployment::given().await, &[]).await;
}

#[tokio::test]
async fn each_pod_has_only_the_secrets_of_its_process() {
    // A pooler in front of PostgreSQL needs no other manifests: each process's Secret may have both addresses. Set-up
    // imports its Secret whole.
    check(kubernetes::given().await, &["DATABASE_DIRECT_URL"]).await;
}

/// Set-up creates the roles and users under these names, each with the rights of its process.
#[test]
fn set_up_creates_every_role_and_user() {
    let roles: BTreeSet<_> = rights::roles(roster(), "orderflow").into_iter().map(|role| role.name).collect();
    for (process, role, user, _) in PROCESSES {
        assert!(roles.contains(role), "{process}: no role {role} among {roles:?}");
        assert!(!roster().has(process) || user == user_of(process), "{process}: {user}");
    }
}

/// Checks the servers themselves and the monitoring.
#[tokio::test]
async fn other_containers_have_no_password_except_the_servers_own() {
    let made_up = made_up().await;
    let ours = deployment::programs();
    for (container, described) in deployment::services().into_iter().filter(|(name, _)| !ours.contains_key(name)) {
        let text = yaml_serde::to_string(&described).expect("it is YAML");
        let named: BTreeSet<_> =
            made_up.keys().map(String::as_str).filter(|name| text.contains(&format!("${{{name}:"))).collect();
        let own = match container.as_str() {
            "postgres" => BTreeSet::from(["POSTGRES_PASSWORD"]),
            "rabbitmq" => BTreeSet::from(["AMQP_ADMIN_PASSWORD"]),
            _ => BTreeSet::new(),
        };
        assert_eq!(named, own, "{container}");
    }
}

#[test]
fn only_the_pods_of_a_process_read_its_secret() {
    for (name, pod) in pods() {
        let read = environment(&pod).into_values().filter_map(|given| match given {
            Given::Secret { name, .. } => Some(name),
            Given::Here(_) => None,
        });
        let read: BTreeSet<String> = read.chain(whole_secret(&pod)).collect();
        let own = if ["operator", "audit"].contains(&name.as_str()) { "ops" } else { name.as_str() };
        assert_eq!(read, [format!("orderflow-{own}")].into(), "{name}");
        assert!(whole_secret(&pod).is_none() || name == "setup", "{name} imports a whole Secret");
    }
}

/// Returns the commands of a section of deploy/kubernetes/README.md.
fn commands(heading: &str) -> String {
    let readme = read("deploy/kubernetes/README.md");
    let section = readme.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n#").next().expect("a section");
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

/// Stand-ins for `openssl` and for a cluster: new Secrets are files in `made`, earlier ones in `old`.
const STAND_INS: &str = r#"
CLUSTER=$PWD
kubectl() {
    case "$1 $2" in
    'create secret') mkdir -p "$CLUSTER/made" && cp "${5#--from-env-file=}" "$CLUSTER/made/$4" ;;
    'get secret')
        local key=${5#*.data.}
        sed -n "s/^${key%\}}=//p" "$CLUSTER/old/$3" | tr -d '\n' | base64 -w 0
        ;;
    esac
}
openssl() { od -An -v -N "$3" -tx1 /dev/urandom | tr -d ' \n'; }
"#;

async fn in_bash(directory: &Path, commands: &str) {
    let ended =
        Command::new("bash").args(["-euc", &format!("{STAND_INS}\n{commands}")]).current_dir(directory).output();
    let ended = ended.await.expect("bash can be run");
    assert!(ended.status.success(), "{ended:?}");
}

/// Returns the created Secrets by name.
fn made(directory: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let files = fs::read_dir(directory.join("made")).expect("Secrets were made").map(|file| file.expect("a file"));
    let pairs = |text: String| -> BTreeMap<String, String> {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    let secret = |file: fs::DirEntry| {
        let name = file.file_name().into_string().expect("text");
        (name, pairs(fs::read_to_string(file.path()).expect("it can be read")))
    };
    files.map(secret).collect()
}

/// Returns the Secrets that result from following the README.
pub(super) async fn kubernetes_secrets() -> BTreeMap<String, BTreeMap<String, String>> {
    let directory = tempfile::tempdir().expect("a directory");
    in_bash(directory.path(), &commands("## Secrets")).await;
    made(directory.path())
}

#[tokio::test]
async fn secret_contains_only_settings_of_its_process() {
    let (secrets, given) = (kubernetes_secrets().await, kubernetes::given().await);
    let processes: BTreeSet<_> = given.keys().map(|name| format!("orderflow-{name}")).collect();
    for (secret, keys) in secrets {
        let process = if secret == "orderflow-ops" { "operator" } else { secret.trim_start_matches("orderflow-") };
        assert!(secret == "orderflow-ops" || processes.contains(&secret), "{secret} belongs to no process");
        for key in keys.keys() {
            assert!(given[process].contains_key(key), "{key} of {secret}");
        }
    }
}

/// Old programs keep working, and links in mails still open their orders.
#[tokio::test]
async fn shop_with_one_secret_keeps_the_values_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let old = directory.path().join("old");
    fs::create_dir_all(&old).expect("a folder");
    let programs = "DATABASE_URL=postgres://orderflow:o@db/shop?a=b&c=d\nAMQP_URL_WEB=amqp://orderflow-web:w@rabbit/shop\n\
                    AMQP_URL_WORKER=amqp://orderflow-worker:x@rabbit/shop\nTOKEN_SECRET=new,old\nSMTP_URL=smtps://mail\n\
                    STRIPE_SECRET_KEY=sk_test\n";
    let operator = "AMQP_ADMIN_URL=amqp://orderflow-admin:a@rabbit/shop\nAMQP_WEB_PASSWORD=w\nAMQP_WORKER_PASSWORD=x\n\
                    AMQP_VIEWER_PASSWORD=v\n";
    fs::write(old.join("orderflow"), programs).expect("it can be written");
    fs::write(old.join("orderflow-operator"), operator).expect("it can be written");
    let (new, take_over) = (commands("## Secrets"), commands("### From one Secret to one for each process"));
    let (files, create) =
        new.split_at(new.find("for name in setup").expect("the section creates the Secrets at its end"));
    in_bash(directory.path(), &format!("{files}\n{take_over}\n{create}")).await;
    let made = made(directory.path());
    for (secret, key, value) in [
        ("setup", "DATABASE_URL", "postgres://orderflow:o@db/shop?a=b&c=d"),
        ("setup", "AMQP_ADMIN_URL", "amqp://orderflow-admin:a@rabbit/shop"),
        ("setup", "AMQP_WEB_PASSWORD", "w"),
        ("setup", "AMQP_VIEWER_PASSWORD", "v"),
        ("web", "AMQP_URL", "amqp://orderflow-web:w@rabbit/shop"),
        ("web", "TOKEN_SECRET", "new,old"),
        ("console", "TOKEN_SECRET", "new,old"),
        ("email", "TOKEN_SECRET", "new,old"),
        ("email", "SMTP_URL", "smtps://mail"),
        ("payment", "STRIPE_SECRET_KEY", "sk_test"),
    ] {
        assert_eq!(made[&format!("orderflow-{secret}")].get(key).map(String::as_str), Some(value), "{key} of {secret}");
    }
    let inspector = &made["orderflow-setup"]["AMQP_INSPECTOR_PASSWORD"];
    assert!(inspector.len() >= 32, "a new user has a generated password");
    assert!(!made["orderflow-console"].contains_key("OPERATOR_TOKENS"), "there were no operator tokens before");
    assert!(made.values().flat_map(BTreeMap::keys).all(|key| !key.contains("WORKER")), "{made:?}");
}
