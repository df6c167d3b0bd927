//! The worker of a later build, with one more service and one more event type. Its arguments are queues or patterns.

use std::process::ExitCode;

use orderflow_service::program;

fn main() -> ExitCode {
    let queues: Vec<String> = std::env::args().skip(1).collect();
    program::work("grown-worker", &orderflow_tests::grown::roster(), &queues)
}
