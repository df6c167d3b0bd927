//! The command lines in the documentation are commands and flags that exist. They are read as the programs read them, and
//! not run.

use std::{fs, path::PathBuf};

use clap::{Parser as _, error::ErrorKind};

use self::cli::Arguments;

/// The command line itself: it belongs to a program, so there is no crate to take it from.
#[allow(dead_code, reason = "only parsed, never run")]
#[path = "../../src/cli.rs"]
mod cli;

const DOCUMENTS: [&str; 5] =
    ["docs/RUNBOOK.md", "docs/ADDING-A-SERVICE.md", "docs/INSTALLING.md", "deploy/kubernetes/README.md", "README.md"];

/// What stands before a command of ours.
const PREFIXES: [&str; 5] = [
    "",
    "docker compose run --rm ",
    "kubectl exec deploy/orderflow-operator -- ",
    "kubectl exec --stdin --tty deploy/orderflow-operator -- ",
    "cargo run -p orderflow -- ",
];

fn read(path: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The heading's address within its page, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-'].contains(letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Who is called at night finds the section that the alert names, and the metric that it is about.
#[test]
fn alerts_name_sections_of_the_runbook_and_metrics_that_there_are() {
    let alerts = read("monitoring/alerts.yml");
    let runbook = read("docs/RUNBOOK.md");
    let headings: Vec<_> =
        runbook.lines().filter(|line| line.starts_with("## ")).map(|line| anchor(&line[3..])).collect();
    let named: Vec<_> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("runbook: docs/RUNBOOK.md#")).collect();
    assert_eq!(named.len(), alerts.matches("- alert: ").count(), "each alert has a section");
    for section in named {
        assert!(
            headings.iter().any(|heading| heading == section),
            "docs/RUNBOOK.md has no section {section:?}: {headings:?}"
        );
    }
    let metrics = read("docs/METRICS.md");
    for word in alerts.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')) {
        let name = word.trim_end_matches("_bucket").trim_end_matches("_count");
        let ours = name.starts_with("orderflow_");
        assert!(!ours || metrics.contains(&format!("| `{name}` |")), "docs/METRICS.md does not have {name:?}");
    }
}

/// Everything that is set as code: fenced lines, and what stands between two back-ticks.
fn code(document: &str) -> Vec<String> {
    let (mut code, mut prose, mut fenced) = (Vec::new(), String::new(), false);
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line.trim().to_owned());
        } else {
            // Where a line breaks inside of a command there is a blank.
            prose.push_str(line);
            prose.push(' ');
        }
    }
    assert!(!fenced, "a fence is not closed");
    code.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
    code
}

/// The words of a command line as a shell would take them, up to where the command ends.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with(['#', '>', '|', '&', ';']) {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').expect("a quote ends"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// The command lines of ours, as words. `…` stands for anything, so those are none.
fn commands(document: &str) -> Vec<Vec<String>> {
    let ours = |line: &String| {
        let found = PREFIXES.iter().find_map(|prefix| {
            let command = line.strip_prefix(prefix)?;
            // After `cargo run -p orderflow --` come the arguments alone.
            let command = if prefix.starts_with("cargo") { format!("orderflow {command}") } else { command.to_owned() };
            (command.starts_with("orderflow ") || command.starts_with("orderflow-worker ")).then_some(command)
        })?;
        let words = words(&found);
        (words.len() > 1 && !words.iter().any(|word| word.contains('…'))).then_some(words)
    };
    code(document).iter().filter_map(ours).collect()
}

/// Why a program would not take this; `None` where it would, or where only what a reader knows is left out: `orderflow
/// republish` names a command, and `orderflow dlq` a family of them.
fn refused(command: &[String]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    if program == "orderflow-worker" {
        let flags = arguments.chunks(2).map(|pair| pair.first().map(String::as_str));
        let known = |flag: Option<&str>| matches!(flag, Some("--queue" | "--help" | "--version"));
        return flags.into_iter().find(|flag| !known(*flag)).map(|flag| format!("{flag:?} is no flag"));
    }
    // A queue of the example is none of the shop's.
    let arguments = arguments.iter().map(|word| word.replace("loyalty.", "email."));
    let error = Arguments::try_parse_from([program.clone()].into_iter().chain(arguments)).err()?;
    let left_out = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayVersion,
    ];
    (!left_out.contains(&error.kind())).then(|| error.to_string())
}

#[test]
fn every_command_line_in_the_documentation_is_one_that_exists() {
    let mut wrong = Vec::new();
    for path in DOCUMENTS {
        let commands = commands(&read(path));
        assert!(commands.len() > 5, "{path} has hardly any command: this check looks for the wrong words");
        let refused = |command: Vec<String>| Some(format!("{path}: {}: {}", command.join(" "), refused(&command)?));
        wrong.extend(commands.into_iter().filter_map(refused));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The audit has no twin in docker-compose.yml that would be held against.
#[test]
fn the_daily_audit_is_a_command_that_exists() {
    let audit = read("deploy/kubernetes/base/audit.yaml");
    let command = audit.lines().find_map(|line| line.trim().strip_prefix("command: [")).expect("it has a command");
    let command: Vec<_> = command.trim_end_matches(']').split(", ").map(str::to_owned).collect();
    assert_eq!(command.first().map(String::as_str), Some("orderflow"));
    assert_eq!(refused(&command), None);
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let found = |line: &str| commands(&format!("`{line}`")).iter().find_map(|command| refused(command));
    for right in ["orderflow why ORDER --json", "orderflow dlq", "docker compose run --rm orderflow stock list"] {
        assert_eq!(found(right), None);
    }
    for wrong in
        ["orderflow teleport", "orderflow dlq list --all", "orderflow republish --since", "orderflow-worker --fast"]
    {
        assert!(found(wrong).is_some(), "{wrong}");
    }
    assert!(found("docker compose run --rm orderflow stock lst").is_some());
}

/// Runs docs/scaling.py and returns its output, if it accepts these arguments.
fn scaling(arguments: &[&str]) -> Option<String> {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/scaling.py");
    let run = std::process::Command::new("python3").arg(program).args(arguments).output().expect("Python runs");
    run.status.success().then(|| String::from_utf8(run.stdout).expect("text"))
}

#[test]
fn scaling_page_has_the_figures_of_its_program() {
    let page = read("docs/SCALING.md");
    let shown = page.split("<!-- scaling.py -->").nth(1).and_then(|rest| rest.split("<!-- end -->").next());
    let printed = scaling(&[]).expect("it runs");
    assert_eq!(shown.expect("the page has marks").trim(), printed.trim(), "python3 docs/scaling.py, between the marks");
    let cells = |text: &str| text.lines().find(|line| line.starts_with("| cells of")).map(str::to_owned);
    let smaller = scaling(&["--set", "cell=1000"]).expect("it runs");
    assert!(cells(&smaller).is_some_and(|line| line.ends_with("| 100 |")), "{smaller}");
    assert_eq!(scaling(&["--set", "nonsense=1"]), None);
}
