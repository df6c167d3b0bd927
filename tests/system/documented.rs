//! The command lines in the documentation use existing commands and flags. They are parsed as the programs parse them,
//! but not run.

use clap::{Parser as _, error::ErrorKind};
use orderflow::cli::Arguments;
use orderflow_tests::project::{anchor, read, root};

const DOCUMENTS: [&str; 6] = [
    "docs/RUNBOOK.md",
    "docs/ADDING-A-SERVICE.md",
    "docs/INSTALLING.md",
    "docs/TUTORIAL.md",
    "deploy/kubernetes/README.md",
    "README.md",
];

/// Prefixes of our commands.
const PREFIXES: [&str; 5] = [
    "",
    "docker compose run --rm ",
    "kubectl exec deploy/orderflow-operator -- ",
    "kubectl exec --stdin --tty deploy/orderflow-operator -- ",
    "cargo run -p orderflow -- ",
];

/// An operator on call must find the section that an alert names, and its metric.
#[test]
fn alerts_name_existing_sections_and_metrics() {
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

/// Returns all code: fenced lines, and text between back-ticks.
fn code(document: &str) -> Vec<String> {
    let (mut code, mut prose, mut fenced) = (Vec::new(), String::new(), false);
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line.trim().to_owned());
        } else {
            // A line break inside a command counts as a space.
            prose.push_str(line);
            prose.push(' ');
        }
    }
    assert!(!fenced, "a fence is not closed");
    code.extend(prose.split('`').skip(1).step_by(2).map(str::to_owned));
    code
}

/// Splits a command line into words as a shell would, up to the end of the command.
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

/// Returns our command lines, as words. Lines with `…`, which stands for anything, are skipped.
fn commands(document: &str) -> Vec<Vec<String>> {
    let ours = |line: &String| {
        let found = PREFIXES.iter().find_map(|prefix| {
            let command = line.strip_prefix(prefix)?;
            // After `cargo run -p orderflow --` only arguments follow.
            let command = if prefix.starts_with("cargo") { format!("orderflow {command}") } else { command.to_owned() };
            (command.starts_with("orderflow ") || command.starts_with("orderflow-worker ")).then_some(command)
        })?;
        let words = words(&found);
        (words.len() > 1 && !words.iter().any(|word| word.contains('…'))).then_some(words)
    };
    code(document).iter().filter_map(ours).collect()
}

/// Returns why a program would refuse this command line. `None` if it would accept it, or if only arguments are
/// missing: the text may mention `orderflow republish`, a command, or `orderflow dlq`, a group of commands.
fn refused(command: &[String]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    if program == "orderflow-worker" {
        let flags = arguments.chunks(2).map(|pair| pair.first().map(String::as_str));
        let known = |flag: Option<&str>| matches!(flag, Some("--queue" | "--help" | "--version"));
        return flags.into_iter().find(|flag| !known(*flag)).map(|flag| format!("{flag:?} is not a flag"));
    }
    // The queues of the example service do not exist in the shop.
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
fn every_documented_command_line_exists() {
    let mut wrong = Vec::new();
    for path in DOCUMENTS {
        let commands = commands(&read(path));
        assert!(commands.len() > 5, "{path} has too few commands: this check searches for the wrong words");
        let refused = |command: Vec<String>| Some(format!("{path}: {}: {}", command.join(" "), refused(&command)?));
        wrong.extend(commands.into_iter().filter_map(refused));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// docker-compose.yml has no daily audit with which this command is compared, so it is checked here.
#[test]
fn daily_audit_is_an_existing_command() {
    let audit = read("deploy/kubernetes/base/audit.yaml");
    let command = audit.lines().find_map(|line| line.trim().strip_prefix("command: [")).expect("it has a command");
    let command: Vec<_> = command.trim_end_matches(']').split(", ").map(str::to_owned).collect();
    assert_eq!(command.first().map(String::as_str), Some("orderflow"));
    assert_eq!(refused(&command), None);
}

#[test]
fn nonexistent_command_is_found() {
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
    let program = root().join("docs/scaling.py");
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
