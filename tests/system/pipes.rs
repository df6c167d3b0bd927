//! Commands whose output has no reader any more, or goes to a full disk.

use std::{
    fs::OpenOptions,
    process::{Output, Stdio},
};

use orderflow_tests::{Shop, VISA, program_path};

/// Runs a command with `out` as its standard output.
async fn run_into(out: Stdio, arguments: &[&str], settings: &[(String, String)]) -> Output {
    // Not `output()`, which would replace `out` with a pipe of its own.
    let running = tokio::process::Command::new(program_path("orderflow"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().cloned())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it can be started");
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), running.wait_with_output()).await;
    output.expect("it ends").expect("its errors can be read")
}

/// Returns a pipe whose reader has gone, as after `| head -1`.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    writer.into()
}

/// The status is 141 without a message, as for `grep` and `git` in a shell: the reader has what it wanted. Status 0
/// would claim that a check found nothing although its report was cut off. Covers both forms of every command that
/// reports.
#[tokio::test(flavor = "multi_thread")]
async fn command_without_a_reader_exits_silently_with_141() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let (settings, order) = (shop.operator_settings(), order.id.to_string());
    for command in [
        "doctor",
        "config",
        "topology check",
        "topology apply",
        "migrate",
        "stock list",
        "stock set MUG-BLUE 9",
        "dlq list",
        "dlq show payment.order-created",
        "queues",
        "audit",
        "republish --missing --dry-run",
        &format!("why {order}"),
    ] {
        for form in [None, Some("--json")] {
            let arguments: Vec<&str> = command.split_whitespace().chain(form).collect();
            let ended = run_into(closed_pipe(), &arguments, &settings).await;
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!((ended.status.code(), said.as_ref()), (Some(141), ""), "{arguments:?}");
        }
    }
    let ended = run_into(closed_pipe(), &["topology", "export"], &settings).await;
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(141), &b""[..]));
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 1).await;
    shop.close().await;
}

/// A report that a full disk cut off must not look complete.
#[tokio::test(flavor = "multi_thread")]
async fn unwritable_output_is_reported() {
    for arguments in [&["config"][..], &["config", "--json"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let ended = run_into(full.into(), arguments, &[]).await;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("the output") && said.contains("No space left"), "{arguments:?}: {said}");
    }
}
