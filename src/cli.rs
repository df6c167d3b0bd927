//! The command line of `orderflow`. `make generate` writes docs/COMMANDS.md from it.

use clap::{Parser, Subcommand};
use orderflow_service::version::DESCRIPTION;

use crate::{
    ops::{
        audit::AuditOptions,
        dlq::{DiscardOptions, ReplayOptions, ShowOptions},
        republish::RepublishOptions,
        retention::RetentionOptions,
        service::RegisterOptions,
    },
    web::Part,
};

/// Orderflow: accepts orders immediately; payment, stock, shipment and mails follow as events on RabbitMQ.
///
/// Settings come from the environment; `orderflow config` lists them.
///
/// Exit status: 0 ok; 1 a check failed or something was not found; 2 invalid use or settings; 3 something is
/// unreachable; 141 the reader of the output stopped reading.
#[derive(Debug, Parser)]
#[command(name = "orderflow", version = DESCRIPTION, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the front end until SIGTERM or Ctrl-C: the shop, the console, or both
    ///
    /// If the console runs as a process of its own, the process that customers reach needs fewer rights and secrets.
    Serve {
        /// Runs only this part
        part: Option<Part>,
    },
    /// Brings the database schema up to date; safe to repeat, and on several hosts at the same time
    Migrate {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Creates, checks or exports what must exist in RabbitMQ
    #[command(subcommand)]
    Topology(TopologyCommand),
    /// Manages what each kind of process may do: PostgreSQL roles, and the front ends' RabbitMQ user
    #[command(subcommand)]
    Rights(RightsCommand),
    /// Manages services that run outside these programs, in any language
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Lists every setting: name, value (secrets masked), default, meaning
    Config {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists and sets the stock of products
    #[command(subcommand)]
    Stock(StockCommand),
    /// Shows one order's whole story: what it waits for, what happened, what failed, what each service did
    ///
    /// Exit status: 0 shown; 1 there is no such order; 3 a part could not be read, and the rest is shown.
    Why {
        /// Its id or number, its customer's e-mail address, or the id of one of its events
        order: String,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Diagnoses this installation and names a remedy for each finding; changes nothing, safe to run at any time
    ///
    /// Exit status: 0 no findings; 1 findings; 2 a setting is missing or invalid; 3 something could not be checked. It
    /// reports what it found in every case.
    Doctor {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists the work queues: backlog, rates, how many processes each needs, and when its backlog is gone
    ///
    /// `ready`, `procs` and `dead` are current. `held` and `in/s` come from RabbitMQ's statistics and are up to five
    /// seconds old. Workers write the other values to the database every ten seconds. `-` means unknown: nothing was
    /// measured yet, or the queue has no consumer.
    ///
    /// Exit status: 0 all was read; 3 something could not be read, and the rest is shown.
    Queues {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows the flow of orders in this terminal, refreshed each second: rates, depths, lag, errors; q quits
    ///
    /// Exit status: 0 you quit; 2 this is not a terminal.
    Top,
    /// Checks that all orders are consistent: money, stock, parcels, mails, the log; names a remedy for each violation
    ///
    /// The audit only reads (except with --record), works in batches, and may run while customers order. An order in
    /// progress is not a violation, and neither is one behind a dead letter: it is listed with the command that replays
    /// the message.
    ///
    /// Exit status: 0 all checks hold; 1 there are violations, or there is no such order; 3 something could not be
    /// checked, and what was found until then is shown.
    Audit(AuditOptions),
    /// Lists, shows, replays and discards dead letters: messages that could not be handled
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Republishes events that subscriptions never got
    ///
    /// Workers do this automatically, once a minute and within limits; this command does it immediately. A queue's
    /// handler ignores events that it has already applied, so sending too much does no harm.
    ///
    /// Exit status: 0 nothing is missing, or all of it was sent; 1 something was not sent; 3 something is unreachable.
    Republish(RepublishOptions),
    /// Moves the history of finished orders to the archive; without --yes, only shows what would be moved
    ///
    /// An order's rows of the event log and the inbox move to messaging.event_archive, which `orderflow why`,
    /// `orderflow audit` and the order's page also read: nothing is lost. An order stays while one of its events waits
    /// to be published or applied, or while it has a dead letter. Safe to run while customers order, to interrupt at
    /// any time, and to run several times concurrently. The list of actions records who ran it.
    ///
    /// Exit status: 0 shown or moved; 3 something is unreachable, and what was moved until then stays moved.
    Retention(RetentionOptions),
}

impl Command {
    /// Returns whether the command covers each service, including those that run outside these programs.
    pub const fn names_services(&self) -> bool {
        match self {
            Self::Topology(TopologyCommand::Apply { .. } | TopologyCommand::Check { .. })
            | Self::Why { .. }
            | Self::Doctor { .. }
            | Self::Queues { .. }
            | Self::Top
            | Self::Audit(_)
            | Self::Dlq(_)
            | Self::Republish(_)
            | Self::Retention(_)
            | Self::Rights(_) => true,
            Self::Serve { .. }
            | Self::Migrate { .. }
            | Self::Topology(TopologyCommand::Export)
            | Self::Service(_)
            | Self::Config { .. }
            | Self::Stock(_) => false,
        }
    }
}

/// `orderflow rights …`
#[derive(Debug, Subcommand)]
pub enum RightsCommand {
    /// Creates the roles and grants each the rights that its processes need; safe to repeat, while orders flow, and on
    /// several hosts at the same time
    ///
    /// DATABASE_URL must name the owner of the tables, which needs CREATEROLE. Run it again after `orderflow migrate`
    /// and `orderflow service register`. It takes no rights from other roles.
    Apply {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints the roles and rights as SQL, for a server on which someone else creates roles
    Print,
    /// Restricts RabbitMQ's user orderflow-web to publishing order.*, once no older front end is connected
    ///
    /// Older front ends publish events of all services, which RabbitMQ would then refuse. While one of them is
    /// connected, this command changes nothing. AMQP_ADMIN_URL must name an administrator.
    ///
    /// Exit status: 0 done; 1 an older front end is connected.
    Narrow {
        /// Lifts the restriction, before a downgrade to an older version
        #[arg(long)]
        undo: bool,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}

/// `orderflow dlq …`
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// Lists the dead letters by queue and reason
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows headers and body of one dead letter, or of those of a queue
    Show(ShowOptions),
    /// Replays dead letters to their queues: one first, the rest once that one is applied
    ///
    /// Fix the cause first. Only current dead letters are replayed, not those that arrive meanwhile. If a replayed
    /// message is dead-lettered again, the replay stops and the remaining messages stay where they are.
    ///
    /// Exit status: 0 all were replayed and none was dead-lettered again (messages still in progress are named); 1
    /// nothing matched, the replay stopped, or a message was dead-lettered again; 3 something is unreachable.
    Replay(ReplayOptions),
    /// Discards dead letters, after writing them to a file
    ///
    /// Their events will never be applied: their orders may never finish. The file holds headers and bodies, one JSON
    /// object per line.
    ///
    /// Exit status: 0 discarded; 1 nothing matched, or you answered no; 3 something is unreachable.
    Discard(DiscardOptions),
}

/// `orderflow topology …`
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Creates what is missing, including users whose password is set, then checks; safe to repeat
    Apply {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Compares RabbitMQ with what must exist
    Check {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints what must exist, in the form that RabbitMQ loads when it starts (rabbitmq/definitions.json)
    Export,
}

/// `orderflow service …`
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Registers a service, so that it gets queues and appears in commands and console; safe to repeat
    ///
    /// Replaces an earlier registration of the same name. `orderflow topology apply` then creates its queues.
    ///
    /// Exit status: 0 registered; 2 a name is invalid or taken.
    Register(RegisterOptions),
    /// Lists all services, built-in and registered
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Removes a registered service; its queues stay
    ///
    /// Exit status: 0 removed; 1 no such service is registered.
    Remove {
        /// Its name
        name: String,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}

/// `orderflow stock …`
#[derive(Debug, Subcommand)]
pub enum StockCommand {
    /// Lists every product and how many pieces of it can be ordered
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Sets how many pieces can be ordered from now on
    ///
    /// Exit status: 0 set; 1 there is no such product, or the available number differs from --expected.
    Set {
        /// The product
        sku: String,
        /// Pieces, 0 or more
        #[arg(value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
        available: i64,
        /// Sets it only if this many are available now; without this option, always
        #[arg(long, value_name = "M", value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
        expected: Option<i64>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}
