//! axe-core on the current page: WCAG 2.2 AA, as far as a program can check it.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::Browser;

/// The rule sets that every page must satisfy, by axe-core's names.
const RULES: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const CHECK: &str = "const [rules, done] = arguments;
    axe.run(document, { runOnly: { type: 'tag', values: rules } })
       .then(({ violations, passes }) => done({ violations, passes: passes.length }), error => done({ error: String(error) }))";

impl Browser {
    /// Checks the page as it is now.
    ///
    /// # Panics
    /// Panics if it breaks a rule; the message names the rule, the element and the remedy.
    pub async fn axe(&self) {
        let loaded = self.run("return typeof axe !== 'undefined'").await;
        if loaded != true {
            self.run(&axe_core()).await;
        }
        let checked = self.session.run_until_done(CHECK, json!([RULES])).await;
        let checked = checked.unwrap_or_else(|error| panic!("axe-core does not run: {error}"));
        let violations = checked["violations"].as_array().unwrap_or_else(|| panic!("axe-core returned {checked}"));
        let passes = checked["passes"].as_u64().unwrap_or_default();
        assert!(passes > 0, "axe-core checked nothing: {checked}");
        let broken: Vec<String> = violations.iter().flat_map(of_rule).collect();
        assert!(broken.is_empty(), "{} breaks accessibility rules:\n{}", self.url().await, broken.join("\n"));
    }
}

/// Returns a sentence for each element that breaks a rule.
fn of_rule(rule: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = format!("{}: {} ({})", text(&rule["id"]), text(&rule["help"]), text(&rule["helpUrl"]));
    let of_node = |node: &Value| format!("{about}\n    {}\n    {}", text(&node["html"]), text(&node["failureSummary"]));
    rule["nodes"].as_array().into_iter().flatten().map(of_node).collect()
}

fn axe_core() -> String {
    let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.dev/tools/axe-core/node_modules/axe-core");
    fs::read_to_string(tools.join("axe.min.js"))
        .unwrap_or_else(|error| panic!("axe-core is not installed ({error}): run `make test` or scripts/browser.sh"))
}
