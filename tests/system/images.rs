//! Containers: the contents of the image, the privileges of a container, and the health check.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use orderflow_tests::project::{read, root};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use super::deployment::{services, text, words};

/// Returns the user that the image runs as.
pub(super) fn image_user() -> String {
    let dockerfile = read("Dockerfile");
    dockerfile.lines().rev().find_map(|line| line.strip_prefix("USER ")).expect("a user").to_owned()
}

#[test]
fn containers_may_do_no_more_than_they_need() {
    for (name, service) in services() {
        assert_eq!(service["read_only"].as_bool(), Some(true), "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert!(service["privileged"].is_null() && service["cap_add"].is_null(), "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(!service["deploy"]["resources"]["limits"]["memory"].is_null(), "{name} has no memory limit");
        let ports = if service["ports"].is_null() { Vec::new() } else { words(&service["ports"]) };
        assert!(
            ports.iter().all(|port| port.starts_with("127.0.0.1:")),
            "{name} is reachable from other machines: {ports:?}"
        );
        let image = service["image"].as_str().expect("every service has an image");
        // The Dockerfile sets the user of our own image.
        let user = if image == "orderflow:local" { image_user() } else { text(&service["user"]) };
        let number: u32 = user.split(':').next().and_then(|user| user.parse().ok()).expect("a number");
        assert_ne!(number, 0, "{name} runs as root");
    }
}

/// A tag such as `rabbitmq:4-management` may name another version tomorrow. It once brought RabbitMQ 4.3, on which
/// set-up failed, and a broker cannot read its data after a skipped minor version. A full version moves only when an
/// operator changes it.
#[test]
fn every_image_has_a_fixed_version() {
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
        // A full version of these has two numbers.
        let whole = if ["postgres", "debian"].contains(&name) { 2 } else { 3 };
        let is_whole = numbers.len() == whole && numbers.iter().all(|number| number.parse::<u32>().is_ok());
        assert!(is_whole, "{image} moves: use a full version");
    }
    // The tests must run with that version.
    let page = read("docs/INSTALLING.md");
    let tested: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && line.contains("make test")).collect();
    for image in images.iter().filter(|image| ["rabbitmq:", "postgres:"].iter().any(|name| image.starts_with(name))) {
        let version = image.split([':', '-']).nth(1).expect("it has a tag");
        assert!(
            tested.iter().any(|line| line.contains(&format!("| {version} |"))),
            "docs/INSTALLING.md lists no tests with {image}"
        );
    }
}

#[test]
fn image_build_matches_the_workspace() {
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
    assert!(numbers(&argument("RUST_VERSION")) >= numbers(&stated("rust-version")), "the image's compiler is too old");
    assert_eq!(argument("VERSION"), stated("version"));
    // Cargo needs every member's manifest, although it builds only what ships.
    let sent = read(".dockerignore");
    for member in stated("members").split(['[', ']', ',', '"', ' ']).filter(|member| !["", "."].contains(member)) {
        let folder = member.trim_end_matches("/*");
        assert!(sent.lines().any(|line| line == format!("!{folder}")), ".dockerignore excludes {folder}");
    }
}

/// Cargo unifies the features of all packages that it builds together, and the fault runner enables fault injection.
/// So a production build must build the default members only. crates/service/build.rs refuses the feature in an
/// optimised build unless requested. `make check` and `make test-full` search the built programs.
#[test]
fn production_builds_have_no_fault_injection() {
    let build = "cargo build --locked --release";
    assert!(
        read("Dockerfile").lines().any(|line| line.trim_end_matches(['\\', ' ']).trim() == build),
        "the Dockerfile does not run `{build}`"
    );
    assert!(read("docs/INSTALLING.md").contains("Build it with `cargo build --release`"));
    let manifest = read("Cargo.toml");
    assert!(
        manifest.contains("\ndefault-members = [\".\", \"workers\"]\n"),
        "the default members are not those that ship"
    );
    for manifest in ["Cargo.toml", "workers/Cargo.toml"] {
        assert!(!read(manifest).contains("default = ["), "{manifest} has default features");
    }
    assert!(read("crates/service/build.rs").contains("CARGO_FEATURE_FAULT_INJECTION"));
}

/// The tests' own programs have the switches. Finding the words of scripts/check_shipped.sh there proves that they
/// are the right ones.
#[test]
fn fault_switches_are_found_in_programs_that_have_them() {
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

#[tokio::test]
async fn health_check_accepts_only_a_200() {
    assert!(!healthcheck(1).await, "nothing listens on port 1");
    for (answer, healthy) in [("200 OK", true), ("503 Service Unavailable", false), ("20", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            // Read the whole request, as servers do: closing before that resets the connection.
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
