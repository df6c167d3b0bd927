//! The worker of a later build, which has one service and one kind of event more. Arguments are queues or patterns.

use std::process::ExitCode;

use orderflow_service::program;

fn main() -> ExitCode {
    let queues: Vec<String> = std::env::args().skip(1).collect();
    program::work("grown-worker", &orderflow_tests::grown::roster(), &queues)
}
