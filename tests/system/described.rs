//! The API matches its description: schemathesis generates valid and invalid requests from `/openapi.json` and checks
//! the answers. Accepted orders are then handled like any other.

use std::{process::Stdio, time::Duration};

use orderflow_tests::{Shop, VISA, project::root};
use tokio::{process::Command, time::timeout};

/// The products that `tests/schemathesis/hooks.py` orders.
const PRODUCTS: &str = "
    INSERT INTO catalogue.products (sku, name, price, currency, position)
    SELECT 'PART-' || n, 'Part ' || n, 100 + n, 'EUR', 100 + n FROM generate_series(1, 50) AS n;
    INSERT INTO inventory.stock (sku, available) SELECT 'PART-' || n, 1000000 FROM generate_series(1, 50) AS n;
    INSERT INTO inventory.movements (sku, kind, quantity)
    SELECT 'PART-' || n, 'received', 1000000 FROM generate_series(1, 50) AS n";

/// Tests the API with up to this many cases for each operation and phase; returns the total number of cases.
async fn tried(examples: u32, bound: Duration) -> u32 {
    let mut shop = Shop::open().await;
    for statement in PRODUCTS.split(';') {
        shop.execute(statement).await;
    }
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let program = root().join(".dev/tools/schemathesis/bin/st");
    assert!(program.exists(), "schemathesis is not installed: `make test` installs it, or reports why it cannot");
    let address = shop.webs()[0].address().await;
    let directory = tempfile::tempdir().expect("a directory");
    let hooks = root().join("tests/schemathesis");
    let running = Command::new(program)
        .arg("--config-file")
        .arg(hooks.join("schemathesis.toml"))
        .args(["run", &format!("http://{address}/openapi.json"), "--url", &format!("http://{address}")])
        // The same cases each time, so that failures can be reproduced.
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
    // Even unusual accepted orders are paid, shipped and mailed like any other, or declined.
    shop.until_settled().await;
    shop.close().await;
    cases.unwrap_or_else(|| panic!("it does not report the number of cases: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn api_matches_its_description() {
    let cases = tried(8, Duration::from_secs(150)).await;
    assert!(cases >= 200, "{cases}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "some minutes: only in the full suite"]
async fn api_matches_its_description_in_two_thousand_cases() {
    let cases = tried(150, Duration::from_secs(900)).await;
    assert!(cases >= 2_000, "{cases}");
}
