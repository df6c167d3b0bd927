//! docs/SETTINGS.md: every setting, from the list that `orderflow config` prints.

use orderflow::ops::settings::{Reader, Section, readers, sections};
use orderflow_service::config::Setting;

use crate::markdown::cell;

const INTRODUCTION: &str = "# Settings

<!-- Written by `make generate` from the programs' own list; not by hand. -->

Every program reads its settings from environment variables when it starts; an empty variable counts as not set. A *secret* `NAME`
may also come from the file that `NAME_FILE` names, and is never printed. [INSTALLING.md](INSTALLING.md#which-process-needs-what) names
the settings that each process requires; every other setting may stay unset.

An invalid setting ends every program with exit status 2, even a program that does not need it; the error names the variable. Only the
passwords of services' users and of roles are read by nothing but set-up and `orderflow config`.
`orderflow config` checks all settings and prints each with its present value, secrets masked.

The column *read by* names the parts of `orderflow serve`, `shop` and `console`; all *workers*, or the service whose worker reads the
setting (a worker without `--queue` runs all services); and *commands*, if another command of `orderflow` reads it.
";

/// Returns the document.
pub fn document() -> String {
    let readers = readers();
    let described: String = sections().iter().map(|section| table(section, &readers)).collect();
    format!("{INTRODUCTION}{described}")
}

fn table(Section { title, settings }: &Section, readers: &[Reader]) -> String {
    let rows: String = settings.iter().map(|setting| row(setting, readers)).collect();
    format!("\n## {title}\n\n| setting | default | read by | meaning |\n|---|---|---|---|\n{rows}")
}

fn row(setting: &Setting, readers: &[Reader]) -> String {
    let Setting { name, default, secret, meaning } = setting;
    let secret = if *secret { " (secret)" } else { "" };
    let default = default.map(|default| format!("`{default}`")).unwrap_or_default();
    format!("| `{name}`{secret} | {default} | {} | {} |\n", read_by(name, readers), cell(meaning))
}

/// Returns the names of the programs that read this setting. All workers together are one name.
fn read_by(setting: &str, readers: &[Reader]) -> String {
    let reads = |reader: &&Reader| reader.settings.contains(setting);
    if readers.iter().all(|reader| reads(&reader)) {
        return "all programs".to_owned();
    }
    let (workers, others): (Vec<_>, Vec<_>) = readers.iter().partition(|reader| reader.is_worker);
    let mut names: Vec<_> = others.into_iter().filter(reads).map(|reader| reader.name).collect();
    if workers.iter().all(reads) {
        names.push("workers");
    } else {
        names.extend(workers.into_iter().filter(reads).map(|reader| reader.name));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_one_row_with_its_readers() {
        let (document, readers, mut rows) = (document(), readers(), 0);
        for setting in sections().iter().flat_map(|section| &section.settings) {
            let begin = format!("| `{}`", setting.name);
            let found: Vec<_> = document.lines().filter(|line| line.starts_with(&begin)).collect();
            assert_eq!(found.len(), 1, "{}: {found:?}", setting.name);
            assert_ne!(read_by(setting.name, &readers), "", "no program reads {}", setting.name);
            rows += 1;
        }
        assert_eq!(document.lines().filter(|line| line.starts_with("| `")).count(), rows);
    }

    #[test]
    fn readers_are_named_together_where_all_of_a_kind_read_a_setting() {
        let readers = readers();
        for (setting, by) in [
            ("DATABASE_URL", "all programs"),
            ("AMQP_URL", "shop, commands, workers"),
            ("PREFETCH", "workers"),
            ("PAYMENT_PROVIDER", "shop, payment"),
            ("AMQP_WEB_PASSWORD", "commands"),
        ] {
            assert_eq!(read_by(setting, &readers), by, "{setting}");
        }
    }
}
