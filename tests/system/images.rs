//! Containers: what is in the image, what a container may do, and how one tells that a program is well.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
};

use super::deployment::{read, root, services, text, words};

/// The user that the image runs as.
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
    let page = read("docs/INSTALLING.md");
    let tested: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && line.contains("make test")).collect();
    for image in images.iter().filter(|image| ["rabbitmq:", "postgres:"].iter().any(|name| image.starts_with(name))) {
        let version = image.split([':', '-']).nth(1).expect("it has a tag");
        assert!(
            tested.iter().any(|line| line.contains(&format!("| {version} |"))),
            "docs/INSTALLING.md knows no tests with {image}"
        );
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
    assert!(read("docs/INSTALLING.md").contains("Build it with `cargo build --release`"));
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
