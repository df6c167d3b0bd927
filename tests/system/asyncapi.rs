//! AsyncAPI's own parser accepts the document that programs in other languages read.

use std::process::Command;

use orderflow_tests::project::root;

/// The document's examples are the documented samples; the parser validates them against the schemas.
#[test]
fn asyncapi_parser_accepts_the_document_and_its_samples() {
    let tools = root().join(".dev/tools/asyncapi");
    assert!(
        tools.join("node_modules").exists(),
        "AsyncAPI's parser is not installed: run `make test`, which installs it"
    );
    let checked = Command::new("node")
        .args([root().join("tests/asyncapi/check.mjs"), tools, root().join("docs/asyncapi.yaml")])
        .output()
        .expect("node is installed");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    assert!(said.contains("version 3.0.0") && said.contains("14 messages, 13 examples"), "{said}");
}
