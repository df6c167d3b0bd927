//! docs/COMMANDS.md: every command, from the command lines of the programs.

use clap::{Arg, Command, CommandFactory as _};

use crate::markdown::{cell, paragraph};

const INTRODUCTION: &str = "# Commands

<!-- Written by `make generate` from the programs' command lines; not by hand. -->

What `--help` of each command prints. Every command has `--help` and `--version`. The exit statuses of `orderflow` itself hold for each
of its commands, unless the command lists its own. [RUNBOOK.md](RUNBOOK.md) says which command to use when, how to run it in containers,
and what outbox, inbox, subscription and dead letter mean.

| command | what |
|---|---|
";

/// Returns the document: a table of all commands, then a section for each.
pub fn document() -> String {
    let commands = commands();
    let index: String = commands.iter().map(|(path, command)| index_row(path, command)).collect();
    let sections: String = commands.iter().map(|(path, command)| section(path, command)).collect();
    format!("{INTRODUCTION}{index}{sections}")
}

/// Returns the programs and their subcommands, each with the words that call it.
fn commands() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    for program in [orderflow::cli::Arguments::command(), orderflow_worker::cli::Arguments::command()] {
        collect(&program, program.get_name(), &mut all);
    }
    all
}

fn collect(command: &Command, path: &str, all: &mut Vec<(String, Command)>) {
    all.push((path.to_owned(), command.clone()));
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        collect(subcommand, &format!("{path} {}", subcommand.get_name()), all);
    }
}

fn index_row(path: &str, command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    format!("| [`{path}`](#{}) | {} |\n", path.replace(' ', "-"), cell(&about))
}

fn section(path: &str, command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let about: String = about.split("\n\n").map(|part| format!("{}\n\n", paragraph(&sentence(part)))).collect();
    // Without the words before its name, a subcommand's usage would not be what operators type.
    let usage = command.clone().bin_name(path).render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let arguments: String = command.get_arguments().filter(|one| !one.is_hide_set()).map(argument_row).collect();
    let arguments = match arguments.as_str() {
        "" => String::new(),
        rows => format!("\n| argument | meaning |\n|---|---|\n{rows}"),
    };
    format!("\n## {path}\n\n{about}```text\n{usage}\n```\n{arguments}")
}

fn argument_row(argument: &Arg) -> String {
    format!("| `{}` | {} |\n", form(argument), cell(&meaning(argument)))
}

/// Returns the argument as it is typed: `--json`, `--since <TIME>`, `<ORDER>`, `[PART]`.
fn form(argument: &Arg) -> String {
    let is_optional = argument.is_positional() && !argument.is_required_set();
    let (open, close) = if is_optional { ('[', ']') } else { ('<', '>') };
    let names = argument.get_value_names().unwrap_or_default().iter();
    let value = names.map(|name| format!("{open}{name}{close}")).collect::<Vec<_>>().join(" ");
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

/// Returns the argument's help with its default and its possible values.
fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut parts = vec![sentence(&help.replace("\n\n", " "))];
    // A flag has the values true and false, which nobody types.
    if argument.get_action().takes_values() {
        let values = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set());
        let values = values.map(|value| match value.get_help() {
            Some(help) => format!("`{}`: {help}", value.get_name()),
            None => format!("`{}`", value.get_name()),
        });
        let values = values.collect::<Vec<_>>().join(" · ");
        let defaults = argument.get_default_values().iter();
        let defaults = defaults.map(|value| format!("`{}`", value.to_string_lossy())).collect::<Vec<_>>().join(", ");
        parts.extend((!values.is_empty()).then(|| format!("Values: {values}.")));
        parts.extend((!defaults.is_empty()).then(|| format!("Default: {defaults}.")));
    }
    parts.join(" ")
}

/// Returns the text with a full stop, which clap removes from the first sentence of a help text.
fn sentence(text: &str) -> String {
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_argument_has_help_and_a_section() {
        let document = document();
        for (path, command) in commands() {
            assert!(command.get_about().is_some(), "{path} has no help");
            let sections = document.lines().filter(|line| *line == format!("## {path}")).count();
            assert_eq!(sections, 1, "{path}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {} has no help", form(argument));
            }
        }
    }

    #[test]
    fn section_shows_what_operators_type() {
        let commands = commands();
        let section = |path: &str| {
            let (_, command) = commands.iter().find(|(one, _)| one == path).expect("it exists");
            section(path, command)
        };
        let set = section("orderflow stock set");
        assert!(set.contains("\n```text\norderflow stock set [OPTIONS] <SKU> <AVAILABLE>\n```\n"), "{set}");
        assert!(set.contains("\nExit status: 0 set; 1 there is no such product"), "{set}");
        assert!(set.contains("\n| `--expected <M>` | Sets it only if"), "{set}");
        let serve = section("orderflow serve");
        assert!(serve.contains("\n| `[PART]` | Runs only this part. Values: `shop`: The shop"), "{serve}");
        let audit = section("orderflow audit");
        assert!(audit.contains(" Default: `100`. |\n") && audit.contains("\n| `--json` | Prints JSON. |\n"), "{audit}");
    }
}
