//! The interface is as its description says: schemathesis makes requests from `/openapi.json`, right ones and wrong ones, and
//! judges the answers. What is accepted is then worked on like every order.

use std::{path::Path, process::Stdio, time::Duration};

use orderflow_tests::{Shop, VISA};
use tokio::{process::Command, time::timeout};

/// Products of `tests/schemathesis/hooks.py`.
const PRODUCTS: &str = "
    INSERT INTO catalogue.products (sku, name, price, currency, position)
    SELECT 'PART-' || n, 'Part ' || n, 100 + n, 'EUR', 100 + n FROM generate_series(1, 50) AS n;
    INSERT INTO inventory.stock (sku, available) SELECT 'PART-' || n, 1000000 FROM generate_series(1, 50) AS n;
    INSERT INTO inventory.movements (sku, kind, quantity)
    SELECT 'PART-' || n, 'received', 1000000 FROM generate_series(1, 50) AS n";

/// Tries the interface with up to so many cases for each operation and phase; returns how many there were.
async fn tried(examples: u32, bound: Duration) -> u32 {
    let mut shop = Shop::open().await;
    for statement in PRODUCTS.split(';') {
        shop.execute(statement).await;
    }
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let program = root.join(".dev/tools/schemathesis/bin/st");
    assert!(program.exists(), "schemathesis is not installed: `make test` does it, and says why where it cannot");
    let address = shop.webs()[0].address().await;
    let directory = tempfile::tempdir().expect("a directory");
    let hooks = root.join("tests/schemathesis");
    let running = Command::new(program)
        .arg("--config-file")
        .arg(hooks.join("schemathesis.toml"))
        .args(["run", &format!("http://{address}/openapi.json"), "--url", &format!("http://{address}")])
        // The same cases each time: a failure is one that somebody can look at.
        .args(["--seed", "14", "--max-examples", &examples.to_string()])
        .args(["--continue-on-failure", "--no-shrink", "--request-timeout", "30", "--output-truncate", "false"])
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", &hooks)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ORDER_ID", order.id.to_string())
        .env("ORDER_TOKEN", &order.token)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(bound, running).await.expect("it ends in time").expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let cases = said.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse().ok());
    // Whatever strange thing was accepted is paid, shipped and told of like any other, or declined.
    shop.until_settled().await;
    shop.close().await;
    cases.unwrap_or_else(|| panic!("it does not say how many cases there were: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interface_is_as_it_is_described() {
    let cases = tried(8, Duration::from_secs(150)).await;
    assert!(cases >= 200, "{cases}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "some minutes: for the long run"]
async fn the_interface_is_as_it_is_described_in_two_thousand_cases() {
    let cases = tried(150, Duration::from_secs(900)).await;
    assert!(cases >= 2_000, "{cases}");
}
