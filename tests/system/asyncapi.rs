//! What other languages read of the events is right by AsyncAPI's own parser.

use std::process::Command;

use crate::schema::root;

/// Its examples are the documented samples, which the parser holds against the schemas.
#[test]
fn document_of_the_events_is_accepted_with_its_samples_by_the_parser_of_asyncapi() {
    let tools = root().join(".dev/tools/asyncapi");
    assert!(tools.join("node_modules").exists(), "AsyncAPI's parser is not installed: `make test` does it");
    let checked = Command::new("node")
        .args([root().join("tests/asyncapi/check.mjs"), tools, root().join("docs/asyncapi.yaml")])
        .output()
        .expect("node is installed");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(said.contains("version 3.0.0") && said.contains("14 messages, 13 examples"), "{said}");
}
