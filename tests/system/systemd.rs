//! deploy/systemd agrees with the programs, with docker-compose.yml and with docs/INSTALLING.md, as far as a test can
//! check without systemd. scripts/check_systemd.sh lets systemd verify the units.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use orderflow_service::config::Source;
use orderflow_tests::project::{read, root};
use orderflow_worker::roster;

use super::{
    backup::blocks,
    deployment::{LONGEST_STOP, complete, known_settings, programs, words},
    versions::MOST_DEATHS,
};

/// A unit as systemd reads it: its file and the drop-ins that apply to it.
struct Unit {
    /// Without `.service`.
    name: String,
    lines: Vec<(String, String)>,
}

impl Unit {
    fn read(name: &str) -> Self {
        let (prefix, instance) = name.split_once('@').unwrap_or((name, ""));
        let template = if instance.is_empty() { name.to_owned() } else { format!("{prefix}@") };
        let folder = root().join("deploy/systemd");
        let mut files =
            vec![folder.join(format!("{template}.service")), folder.join("orderflow-.service.d/common.conf")];
        if let Ok(own) = fs::read_dir(folder.join(format!("{name}.service.d"))) {
            files.extend(own.map(|file| file.expect("a file").path()));
        }
        let text = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let lines = files.into_iter().map(text).flat_map(|text: String| {
            let lines = text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| !key.starts_with('#'));
            let resolved = |value: &str| value.replace("%i", instance).replace("%N", name);
            lines.map(|(key, value)| (key.to_owned(), resolved(value))).collect::<Vec<_>>()
        });
        Self { name: name.to_owned(), lines: lines.collect() }
    }

    fn all<'u>(&'u self, key: &str) -> impl Iterator<Item = &'u str> {
        self.lines.iter().filter(move |(one, _)| one == key).map(|(_, value)| value.as_str())
    }

    fn one(&self, key: &str) -> &str {
        let mut found = self.all(key);
        let value = found.next().unwrap_or_else(|| panic!("{} has no {key}", self.name));
        assert_eq!(found.next(), None, "{} has a second {key}", self.name);
        value
    }

    fn seconds(&self, key: &str) -> Duration {
        let text = self.one(key);
        text.parse().map_or_else(|_| humantime::parse_duration(text).expect("a time"), Duration::from_secs)
    }

    /// Returns the name of each secret that systemd passes on, with the secret's file.
    fn credentials(&self) -> BTreeMap<&str, &str> {
        self.all("LoadCredential").map(|value| value.split_once(':').expect("a name and a file")).collect()
    }

    /// Returns the settings of the unit's program, with `etc` in place of /etc.
    fn environment(&self, etc: &Path) -> BTreeMap<String, String> {
        let pairs = |text: &str| -> Vec<(String, String)> {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
        };
        let here = |path: &str| etc.join(path.trim_start_matches("/etc/"));
        let handed: BTreeMap<_, _> = self.credentials().into_iter().map(|(name, file)| (name, here(file))).collect();
        let mut given = BTreeMap::new();
        for (name, value) in self.all("Environment").flat_map(|all| all.split(' ').flat_map(&pairs)) {
            let path = value.strip_prefix("%d/").map(|credential| {
                let file = handed.get(credential).unwrap_or_else(|| panic!("{}: no {credential}", self.name));
                file.display().to_string()
            });
            given.insert(name, path.unwrap_or(value));
        }
        for file in self.all("EnvironmentFile") {
            let text = fs::read_to_string(here(file.trim_start_matches('-')));
            assert!(text.is_ok() || file.starts_with('-'), "{}: nothing creates {file}", self.name);
            given.extend(pairs(&text.unwrap_or_default()));
        }
        given
    }
}

/// Returns the units, by the name of the same process in docker-compose.yml or Kubernetes.
fn units() -> BTreeMap<String, Unit> {
    let own = [("web", "shop"), ("console", "console"), ("setup", "setup"), ("audit", "audit")];
    let own = own.map(|(process, unit)| (process.to_owned(), format!("orderflow-{unit}")));
    let workers =
        roster().names().into_iter().map(|service| (service.to_owned(), format!("orderflow-worker@{service}")));
    own.into_iter().chain(workers).map(|(process, unit)| (process, Unit::read(&unit))).collect()
}

/// Returns the units that run until they are stopped.
fn running() -> BTreeMap<String, Unit> {
    units().into_iter().filter(|(process, _)| !["setup", "audit"].contains(&process.as_str())).collect()
}

/// Follows the page up to where it needs systemd, and returns the resulting folder /etc.
fn etc() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    let blocks = blocks("One machine with systemd");
    let first = blocks.iter().position(|block| block.starts_with("services=")).expect("it names the services");
    let commands = blocks[first..=first + 1].concat().replace("/etc/", &format!("{}/", folder.path().display()));
    let ended = Command::new("bash").args(["-euc", &commands]).output().expect("bash can be run");
    assert!(ended.status.success(), "{ended:?}");
    folder
}

#[test]
fn every_program_starts_with_the_settings_of_its_unit() {
    let etc = etc();
    for (process, unit) in units() {
        let given = unit.environment(etc.path());
        assert_eq!(complete(&process, &given.into_iter().collect::<Source>()), Ok(()), "{process}");
    }
}

/// Every process of the same user, and everyone who can list units, can read a secret in a variable.
#[tokio::test]
async fn secrets_come_from_files_and_belong_to_the_process() {
    let known = known_settings().await;
    for (process, unit) in units() {
        let variables = unit.all("Environment").flat_map(|all| all.split(' ')).filter_map(|one| one.split_once('='));
        for (variable, value) in variables {
            let name = variable.trim_end_matches("_FILE");
            let secret = known.get(name).unwrap_or_else(|| panic!("{process} sets {name}, which is not a setting"));
            assert_eq!(*secret, variable.ends_with("_FILE") && value == format!("%d/{name}"), "{name} of {process}");
        }
        let own = if ["console", "audit"].contains(&process.as_str()) { "ops" } else { &process };
        for (name, file) in unit.credentials() {
            assert_eq!(file, format!("/etc/orderflow/secrets/{own}/{name}"), "{process}");
        }
    }
    let etc = etc();
    let secrets = etc.path().join("orderflow/secrets");
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    assert_eq!((mode(&secrets), mode(&secrets.join("setup.env"))), (0o700, 0o600));
    assert_eq!(mode(&etc.path().join("orderflow/orderflow.env")), 0o644);
}

#[test]
fn units_run_the_commands_of_compose_and_kubernetes() {
    let command = |unit: &Unit| -> Vec<String> {
        let line = unit.one("ExecStart").strip_prefix("/usr/local/bin/").expect("the page installs the programs there");
        line.split(' ').map(str::to_owned).collect()
    };
    for (process, unit) in running() {
        assert_eq!(command(&unit), words(&programs()[&process]["command"]), "{process}");
    }
    let audit = read("deploy/kubernetes/base/audit.yaml");
    assert!(audit.contains(&format!("command: [{}]\n", command(&units()["audit"]).join(", "))));
    let setup = &units()["setup"];
    let steps: Vec<_> = setup.all("ExecStart").map(|line| line.trim_start_matches("/usr/local/bin/")).collect();
    assert!(read("deploy/kubernetes/base/setup.yaml").contains(&format!("\"{}\"", steps.join(" && "))), "{steps:?}");
    let page = blocks("One machine with systemd").concat();
    for unit in running().values().filter(|unit| !unit.name.contains('@')) {
        assert!(page.contains(&unit.name), "the page does not start {}", unit.name);
    }
    assert!(page.contains("'orderflow-worker@%s ' $services"), "the page does not start a worker for each service");
}

#[test]
fn program_has_time_to_stop_and_restarts_for_each_death_that_a_message_may_cause() {
    for (process, unit) in running() {
        assert!(unit.seconds("TimeoutStopSec") > LONGEST_STOP, "{process}");
        assert_eq!((unit.one("Restart"), unit.one("RestartPreventExitStatus")), ("on-failure", "2"), "{process}");
        let (burst, pause) =
            (unit.one("StartLimitBurst").parse::<u32>().expect("a number"), unit.seconds("RestartSec"));
        assert!(usize::try_from(burst).expect("small") > MOST_DEATHS, "{process}");
        // Otherwise a crash loop would never reach the limit.
        assert!(pause * burst < unit.seconds("StartLimitIntervalSec"), "{process}");
    }
}

#[test]
fn programs_share_one_sandbox() {
    let common = read("deploy/systemd/orderflow-.service.d/common.conf");
    for line in ["DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="] {
        assert!(common.lines().any(|one| one == line), "{line}");
    }
    // A unit's own line would override the shared one.
    let keys: BTreeSet<_> = common.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key).collect();
    for name in ["shop", "console", "worker@", "setup", "audit"] {
        let unit = read(&format!("deploy/systemd/orderflow-{name}.service"));
        for (key, _) in unit.lines().filter_map(|line| line.split_once('=')) {
            assert!(!keys.contains(key) || key == "EnvironmentFile", "{key} of {name}");
        }
    }
}
