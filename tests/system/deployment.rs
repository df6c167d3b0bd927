//! docker-compose.yml, Dockerfile and scripts/make-env.sh agree with the programs, as far as no container engine is
//! needed to tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use orderflow_service::{
    Subscription,
    config::{AdminConfig, BrokerConfig, ConfigError, DatabaseConfig, OperatorsConfig, Source, WebConfig},
    process::Settings,
};
use orderflow_worker::roster;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};
use yaml_serde::Value;

/// What a worker takes at most for what it has begun, its pace, relay, failures, runtime and traces: see its `DRAIN_TIMEOUT`.
pub(super) const LONGEST_STOP: Duration = Duration::from_secs(32);

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The services of docker-compose.yml, with what they inherit, and variables as they stand there.
fn services() -> BTreeMap<String, Value> {
    let mut file: Value = yaml_serde::from_str(&read("docker-compose.yml")).expect("it is YAML");
    // One pass resolves one level: what is inherited may itself inherit.
    for _ in 0..4 {
        file.apply_merge().expect("what it inherits are mappings");
    }
    yaml_serde::from_value(file["services"].clone()).expect("it has services")
}

/// Those that run our image.
pub(super) fn programs() -> BTreeMap<String, Value> {
    let ours = |service: &Value| service["image"].as_str() == Some("orderflow:local");
    let found: BTreeMap<_, _> = services().into_iter().filter(|(_, service)| ours(service)).collect();
    assert!(found.len() > roster().names().len(), "{:?}", found.keys());
    found
}

fn environment(service: &Value) -> BTreeMap<String, String> {
    yaml_serde::from_value(service["environment"].clone()).expect("a mapping from names to text")
}

pub(super) fn words(list: &Value) -> Vec<String> {
    yaml_serde::from_value(list.clone()).expect("a list of words")
}

/// Runs a copy of scripts/make-env.sh in this directory.
async fn make_env(directory: &Path) -> Output {
    for folder in ["scripts", "rabbitmq", "monitoring"] {
        fs::create_dir_all(directory.join(folder)).expect("a folder");
    }
    for file in ["scripts/lib.sh", "scripts/make-env.sh", "rabbitmq/rabbitmq.conf", "monitoring/prometheus.yml"] {
        fs::copy(root().join(file), directory.join(file)).expect("a copy");
    }
    Command::new(directory.join("scripts/make-env.sh")).output().await.expect("it can be run")
}

/// The file that scripts/make-env.sh writes.
async fn written_env() -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let made = make_env(directory.path()).await;
    assert!(made.status.success(), "{made:?}");
    fs::read_to_string(directory.path().join(".env")).expect("it was written")
}

/// What scripts/make-env.sh makes up.
async fn made_up() -> BTreeMap<String, String> {
    let file = written_env().await;
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Replaces `${NAME:-default}` and `${NAME:?message}` as Docker Compose does.
fn resolve(text: &str, known: &BTreeMap<String, String>) -> String {
    let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
    let (inside, after) = rest.split_once('}').expect("a variable ends");
    let (name, instead) = inside.split_once(':').expect("every variable says what holds without it");
    let value = match (known.get(name), instead.strip_prefix('-')) {
        (Some(value), _) => value.clone(),
        (None, Some(default)) => default.to_owned(),
        (None, None) => panic!("scripts/make-env.sh does not write {name}"),
    };
    format!("{before}{value}{}", resolve(after, known))
}

/// Whether the program of this name would start with these settings.
pub(super) fn complete(name: &str, given: &Source) -> Result<(), ConfigError> {
    match name {
        "setup" | "orderflow" | "operator" => {
            let (admin, database) = (AdminConfig::read(given), DatabaseConfig::read(given));
            let users = admin.as_ref().map(|admin| &admin.users);
            let all = users.is_some_and(|users| {
                [&users.web, &users.worker, &users.viewer, &users.inspector].into_iter().all(Option::is_some)
            });
            assert!(all, "{name} does not set every user's password");
            given.finish(admin.and(database).map(drop))
        }
        "audit" => given.finish(DatabaseConfig::read(given).map(drop)),
        "web" => {
            let (web, database) = (WebConfig::read(given), DatabaseConfig::read(given));
            let operators = OperatorsConfig::read(given);
            given.finish(BrokerConfig::read(given).and(web).and(database).and(operators).map(drop))
        }
        service => {
            let queues = roster().select(&[format!("{service}.*")]).expect("it has queues");
            Settings::read(given, roster(), queues).map(drop)
        }
    }
}

#[tokio::test]
async fn every_program_starts_with_the_settings_that_it_is_given() {
    let known = made_up().await;
    for (name, service) in programs() {
        let given: Source =
            environment(&service).into_iter().map(|(setting, text)| (setting, resolve(&text, &known))).collect();
        let complete = complete(&name, &given);
        assert_eq!(complete, Ok(()), "{name}");
    }
}

#[test]
fn every_setting_named_exists_and_no_secret_stands_in_a_file() {
    let known = |name: &str| roster().settings().find(|setting| setting.name == name);
    for (service, given) in programs() {
        for (name, value) in environment(&given) {
            let setting = known(&name).unwrap_or_else(|| panic!("{service} is given {name}, which is no setting"));
            assert!(!setting.secret || value.contains("${"), "{name} of {service} stands in docker-compose.yml");
        }
    }
    let dockerfile = read("Dockerfile");
    let named = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    let named: Vec<_> = named.filter_map(|pair| pair.split_once('=')).collect();
    assert!(!named.is_empty(), "the image listens on 127.0.0.1 only");
    for (name, _) in named {
        assert!(known(name).is_some_and(|setting| !setting.secret), "the image sets {name}");
    }
}

/// The queues that this command line consumes: of this service alone.
pub(super) fn consumed_by(service: &str, command: &[String]) -> Vec<Subscription> {
    let [program, pairs @ ..] = command else { panic!("{service} has no command") };
    assert_eq!(program, "orderflow-worker");
    let patterns = pairs.chunks(2).map(|pair| {
        assert_eq!(pair[0], "--queue", "{service}");
        pair[1].clone()
    });
    let chosen = roster().select(&patterns.collect::<Vec<_>>()).unwrap_or_else(|error| panic!("{service}: {error}"));
    assert!(chosen.iter().all(|subscription| subscription.service() == service), "{service}: {chosen:?}");
    chosen
}

#[test]
fn each_service_has_its_workers_and_all_queues_are_consumed_once() {
    let programs = programs();
    let mut consumed = Vec::new();
    for service in roster().names() {
        let worker = programs.get(service).unwrap_or_else(|| panic!("docker-compose.yml has no service {service}"));
        let command = words(&worker["command"]);
        consumed.extend(consumed_by(service, &command));
        // Two of one service cannot share a name or a port.
        assert!(worker["container_name"].is_null() && worker["ports"].is_null(), "{service} cannot be scaled");
    }
    consumed.sort_unstable();
    let mut all = roster().subscriptions().to_vec();
    all.sort_unstable();
    assert_eq!(consumed, all);
}

#[test]
fn prometheus_asks_every_service() {
    let file: Value = yaml_serde::from_str(&read("monitoring/prometheus.yml")).expect("it is YAML");
    let jobs = file["scrape_configs"].as_sequence().expect("a list");
    let worker = jobs.iter().find(|job| job["job_name"] == "worker").expect("a job");
    let mut asked = words(&worker["dns_sd_configs"][0]["names"]);
    asked.sort_unstable();
    let mut services: Vec<_> = roster().names().into_iter().map(str::to_owned).collect();
    services.sort_unstable();
    assert_eq!(asked, services);
}

#[tokio::test]
async fn a_service_is_scaled_by_a_variable_that_people_are_told_of() {
    let (compose, programs, written) = (read("docker-compose.yml"), programs(), written_env().await);
    for service in roster().names() {
        let variable = format!("{}_WORKERS", service.to_uppercase().replace('-', "_"));
        let scale = programs.get(service).map(|worker| text(&worker["scale"]));
        assert_eq!(scale, Some(format!("${{{variable}:-1}}")), "the scale of {service} in docker-compose.yml");
        assert_eq!(compose.matches(&variable).count(), if service == "payment" { 2 } else { 1 }, "{variable}");
        assert!(written.contains(&format!("\n#{variable}=1\n")), "scripts/make-env.sh does not tell of {variable}");
    }
}

/// Whoever restores a database stops all that write to it: a worker that is forgotten there spoils what is restored.
#[test]
fn the_runbook_stops_everything_that_writes() {
    let runbook = read("docs/RUNBOOK.md");
    let stop = runbook.split("docker compose stop ").nth(1).and_then(|rest| rest.split('`').next());
    let stopped: BTreeSet<_> = stop.expect("it says what to stop").split_whitespace().collect();
    let writers: BTreeSet<_> = roster().names().into_iter().chain(["web"]).collect();
    assert_eq!(stopped, writers, "what docs/RUNBOOK.md stops before a database is restored, and what writes");
}

/// Settings with a default that are nobody's to tune here: where a container listens, by what it reaches RabbitMQ, providers of
/// which there is one, and what only a command has that containers do not run.
pub(super) const FIXED: [&str; 6] =
    ["DATABASE_ROLE_PREFIX", "LISTEN", "OPS_LISTEN", "WORKER_LISTEN", "RABBITMQ_MANAGEMENT_URL", "CARRIER"];

#[test]
fn what_a_shop_tunes_is_a_variable() {
    let given: Vec<_> = programs().values().map(environment).collect();
    for setting in roster().settings().filter(|setting| setting.default.is_some() && !FIXED.contains(&setting.name)) {
        let variable = format!("${{{}:-", setting.name);
        let taken = given.iter().filter_map(|one| one.get(setting.name)).collect::<Vec<_>>();
        assert!(!taken.is_empty(), "docker-compose.yml has no variable for {}", setting.name);
        assert!(taken.iter().all(|value| value.starts_with(&variable)), "{} is {taken:?}", setting.name);
    }
}

#[test]
fn containers_may_do_no_more_than_they_need() {
    for (name, service) in services() {
        assert_eq!(service["read_only"].as_bool(), Some(true), "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert!(service["privileged"].is_null() && service["cap_add"].is_null(), "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(!service["deploy"]["resources"]["limits"]["memory"].is_null(), "{name} may take all memory");
        let ports = if service["ports"].is_null() { Vec::new() } else { words(&service["ports"]) };
        assert!(ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{name} is published: {ports:?}");
        let image = service["image"].as_str().expect("every service has an image");
        // Ours is in the Dockerfile.
        let user = if image == "orderflow:local" { image_user() } else { text(&service["user"]) };
        let number: u32 = user.split(':').next().and_then(|user| user.parse().ok()).expect("a number");
        assert_ne!(number, 0, "{name} runs as root");
    }
}

/// A tag such as `rabbitmq:4-management` is another program tomorrow: RabbitMQ 4.3 came by it, with which set-up failed, and a
/// minor version that is skipped cannot read its own data. A full version moves only when somebody changes it.
#[test]
fn no_images_tag_moves() {
    let dockerfile = read("Dockerfile");
    let arguments: BTreeMap<_, _> =
        dockerfile.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('=')).collect();
    let resolved = |image: &str| {
        arguments.iter().fold(image.to_owned(), |image, (name, value)| image.replace(&format!("${{{name}}}"), value))
    };
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next()).map(resolved);
    let services = services().into_values().map(|service| text(&service["image"]));
    let images: BTreeSet<String> = bases.chain(services).filter(|image| image != "orderflow:local").collect();
    assert!(images.len() > 5, "{images:?}");
    for image in &images {
        let (name, tag) = image.split_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
        let version = tag.trim_start_matches('v').split('-').next().unwrap_or_default();
        let numbers: Vec<_> = version.split('.').collect();
        // Two numbers are a whole version of these.
        let whole = if ["postgres", "debian"].contains(&name) { 2 } else { 3 };
        let is_whole = numbers.len() == whole && numbers.iter().all(|number| number.parse::<u32>().is_ok());
        assert!(is_whole, "{image} moves: name a whole version");
    }
    // And it is one that the tests run with.
    let readme = read("README.md");
    let tested: Vec<&str> =
        readme.lines().filter(|line| line.starts_with("| ") && line.contains("make test")).collect();
    for image in images.iter().filter(|image| ["rabbitmq:", "postgres:"].iter().any(|name| image.starts_with(name))) {
        let version = image.split([':', '-']).nth(1).expect("it has a tag");
        assert!(
            tested.iter().any(|line| line.contains(&format!("| {version} |"))),
            "README knows no tests with {image}"
        );
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

pub(super) fn image_user() -> String {
    let dockerfile = read("Dockerfile");
    dockerfile.lines().rev().find_map(|line| line.strip_prefix("USER ")).expect("a user").to_owned()
}

#[test]
fn a_program_is_given_the_time_that_it_takes_to_stop() {
    for (name, service) in programs() {
        let grace = humantime::parse_duration(&text(&service["stop_grace_period"])).expect("a length of time");
        assert!(grace > LONGEST_STOP, "{name} is killed after {grace:?}");
    }
}

#[test]
fn the_image_is_built_as_the_workspace_says() {
    let (dockerfile, manifest) = (read("Dockerfile"), read("Cargo.toml"));
    let argument = |name: &str| {
        let found = dockerfile.lines().find_map(|line| line.strip_prefix(&format!("ARG {name}=")));
        found.unwrap_or_else(|| panic!("the Dockerfile has no ARG {name}")).to_owned()
    };
    let stated = |key: &str| {
        let found = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
        found.unwrap_or_else(|| panic!("Cargo.toml has no {key}")).trim_matches('"').to_owned()
    };
    let numbers =
        |version: &str| -> Vec<u32> { version.split('.').map(|number| number.parse().expect("a number")).collect() };
    assert!(numbers(&argument("RUST_VERSION")) >= numbers(&stated("rust-version")), "too old a compiler");
    assert_eq!(argument("VERSION"), stated("version"));
    // Cargo wants to see every member, though it builds only ours.
    let sent = read(".dockerignore");
    for member in stated("members").split(['[', ']', ',', '"', ' ']).filter(|member| !["", "."].contains(member)) {
        let folder = member.trim_end_matches("/*");
        assert!(sent.lines().any(|line| line == format!("!{folder}")), "the builder does not get {folder}");
    }
}

/// Cargo unites the features of all packages that it builds together, and the fault runs' package wants faults. So what is
/// built for production must be the default members alone, and no optimised build can have the feature unasked: crates/service/build.rs
/// refuses it. `make check` and `make test-full` look into the programs.
#[test]
fn no_build_for_production_has_faults_on_request() {
    let build = "cargo build --locked --release";
    assert!(read("Dockerfile").lines().any(|line| line.trim_end_matches(['\\', ' ']).trim() == build), "another build");
    assert!(read("README.md").contains("Build it with `cargo build --release`"));
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("\ndefault-members = [\".\", \"workers\"]\n"), "what ships is built by default");
    for manifest in ["Cargo.toml", "workers/Cargo.toml"] {
        assert!(!read(manifest).contains("default = ["), "{manifest} has features that nobody asked for");
    }
    assert!(read("crates/service/build.rs").contains("CARGO_FEATURE_FAULT_INJECTION"));
}

/// The tests' own programs have the switches. So the words that scripts/check_shipped.sh looks for are the right ones.
#[test]
fn switches_for_faults_are_found_in_programs_that_have_them() {
    let script = read("scripts/check_shipped.sh");
    let words = script.lines().find_map(|line| line.strip_prefix("SWITCHES='")).expect("it names them");
    for program in ["orderflow", "orderflow-worker"] {
        let bytes = fs::read(orderflow_tests::program_path(program)).expect("it is built");
        for word in words.trim_end_matches('\'').split('|') {
            let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(found, "{word} is not in {program}");
        }
    }
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase();
    let kept = heading.chars().filter(|one| one.is_alphanumeric() || " -_".contains(*one));
    kept.map(|one| if one == ' ' { '-' } else { one }).collect()
}

#[test]
fn the_runbook_has_what_its_table_points_to() {
    let runbook = read("docs/RUNBOOK.md");
    let headings: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let links: Vec<_> = runbook.split("](#").skip(1).filter_map(|rest| rest.split_once(')')).collect();
    assert!(links.len() > headings.len(), "{links:?}");
    for (link, _) in links {
        assert!(headings.contains(link), "{link} is none of {headings:?}");
    }
}

#[tokio::test]
async fn passwords_are_made_once_for_the_owner_alone_and_never_overwritten() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(".env");
    assert!(make_env(directory.path()).await.status.success());
    let (first, mode) = (fs::read_to_string(&file).expect("there"), fs::metadata(&file).expect("there").permissions());
    assert_eq!(mode.mode() & 0o777, 0o600);
    let again = make_env(directory.path()).await;
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists"), "{again:?}");
    assert_eq!(fs::read_to_string(&file).expect("there"), first);
    let (one, other) = (made_up().await, made_up().await);
    let values: BTreeSet<_> = one.values().chain(other.values()).collect();
    assert_eq!(values.len(), one.len() + other.len(), "a password came twice");
    for ignored in [".gitignore", ".dockerignore"] {
        let lines = read(ignored);
        let kept_out = lines.lines().any(|line| line == ".env" || line == "*");
        assert!(kept_out && !lines.lines().any(|line| line == "!.env"), "{ignored} lets .env through");
    }
}

#[tokio::test]
async fn the_health_check_believes_nothing_but_a_200() {
    assert!(!healthcheck(1).await, "nobody listens there");
    for (answer, healthy) in [("200 OK", true), ("503 Service Unavailable", false), ("20", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            // As servers do: one that answers and closes before it has read everything resets the connection.
            while !request.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut request).await.expect("a request") > 0, "the request is cut off");
            }
            let head = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("it is read");
            String::from_utf8_lossy(&request).into_owned()
        });
        assert_eq!(healthcheck(port).await, healthy, "{answer}");
        assert!(server.await.expect("no panic").starts_with("GET /readyz HTTP/1.1\r\n"));
    }
}

async fn healthcheck(port: u16) -> bool {
    let script = root().join("scripts/container/healthcheck.sh");
    Command::new(script).arg(port.to_string()).output().await.expect("it can be run").status.success()
}
