//! `orderflow`: the front end and the operator's commands.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Parser as _;
use orderflow::{
    cli,
    ops::{self, Exit, Failed, stock::Change},
    services::{self, roster},
};
use orderflow_service::{config::Source, telemetry};

/// The exit status when the reader of standard output has left: 128 + 13, as a shell reports a program killed by
/// SIGPIPE. `set -o pipefail` then treats this program like any other. It is not 0, because the findings were not all
/// read.
const READER_LEFT: u8 = 141;

/// How long abandoned tasks may take to end.
const LAST_TASKS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let source = Source::from_env();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(Err(error.into())),
    };
    let outcome = runtime.block_on(run(arguments.command, &source)).and_then(|exit| {
        // Standard output is buffered. Whatever it cannot write when the process ends is lost silently.
        io::stdout().flush()?;
        Ok(exit)
    });
    // Do not wait for a DNS lookup that is still running.
    runtime.shutdown_timeout(LAST_TASKS);
    end(outcome)
}

async fn run(command: cli::Command, source: &Source) -> Result<Exit, Failed> {
    // Checked for every command, so that an invalid setting ends even a command that does not read it.
    roster().check_settings(source);
    let left_out = if command.names_services() { services::load().await } else { None };
    let outcome = execute(command, source).await;
    if let Some(note) = left_out
        && !matches!(outcome, Err(Failed::Config(_)))
    {
        // To standard error: a program may be parsing standard output.
        drop(writeln!(io::stderr(), "orderflow: {note}"));
    }
    outcome
}

async fn execute(command: cli::Command, source: &Source) -> Result<Exit, Failed> {
    use cli::{Command, DlqCommand, RightsCommand, ServiceCommand, StockCommand, TopologyCommand};
    // Not locked: `orderflow top` restores the terminal from whichever thread panics.
    let out = &mut io::stdout();
    match command {
        Command::Serve { part } => {
            orderflow::web::run(source, part).await.map_err(|error| Failed::Serve(telemetry::chain(&error)))?;
            Ok(Exit::Ok)
        }
        Command::Migrate { json } => ops::migrate::run(source, json, out).await,
        Command::Config { json } => ops::config::run(source, json, out),
        Command::Topology(TopologyCommand::Apply { json }) => ops::topology::apply(source, json, out).await,
        Command::Topology(TopologyCommand::Check { json }) => ops::topology::check(source, json, out).await,
        Command::Topology(TopologyCommand::Export) => ops::topology::export(source, out),
        Command::Rights(RightsCommand::Apply { json }) => ops::rights::apply(source, json, out).await,
        Command::Rights(RightsCommand::Print) => ops::rights::print(source, out),
        Command::Rights(RightsCommand::Narrow { undo, json }) => ops::narrow::run(source, undo, json, out).await,
        Command::Service(ServiceCommand::Register(options)) => ops::service::register(source, &options, out).await,
        Command::Service(ServiceCommand::List { json }) => ops::service::list(source, json, out).await,
        Command::Service(ServiceCommand::Remove { name, json }) => ops::service::remove(source, &name, json, out).await,
        Command::Stock(StockCommand::List { json }) => ops::stock::list(source, json, out).await,
        Command::Stock(StockCommand::Set { sku, available, expected, json }) => {
            ops::stock::set(source, &sku, Change { available, expected }, json, out).await
        }
        Command::Dlq(DlqCommand::List { json }) => ops::dlq::list(source, json, out).await,
        Command::Dlq(DlqCommand::Show(options)) => ops::dlq::show(source, &options, out).await,
        Command::Dlq(DlqCommand::Replay(options)) => ops::dlq::replay(source, &options, out).await,
        Command::Dlq(DlqCommand::Discard(options)) => ops::dlq::discard(source, &options, out).await,
        Command::Republish(options) => ops::republish::run(source, &options, out).await,
        Command::Retention(options) => ops::retention::run(source, &options, out).await,
        Command::Audit(options) => ops::audit::run(source, &options, out).await,
        Command::Queues { json } => ops::queues::run(source, json, out).await,
        Command::Top => ops::top::run(source).await,
        Command::Doctor { json } => ops::doctor::run(source, json, out).await,
        Command::Why { order, json } => ops::why::run(source, &order, json, out).await,
    }
}

/// Writes each error on its own line and returns the exit status of the contract. Writes nothing if the reader of the
/// output left (`orderflow doctor | head -1`): it has what it wanted.
fn end(outcome: Result<Exit, Failed>) -> ExitCode {
    use std::process::Termination as _;
    let exit = match outcome {
        Ok(exit) => exit,
        Err(failed) if failed.is_closed_pipe() => return ExitCode::from(READER_LEFT),
        Err(failed) => {
            for line in failed.to_string().lines() {
                // If standard error is closed too, nobody can read the error.
                drop(writeln!(io::stderr(), "orderflow: {line}"));
            }
            failed.exit()
        }
    };
    exit.report()
}
