//! The command line.

use clap::{Parser, Subcommand};
use orderflow::ops::{
    audit::AuditOptions,
    dlq::{DiscardOptions, ReplayOptions, ShowOptions},
    republish::RepublishOptions,
    retention::RetentionOptions,
    service::RegisterOptions,
};
use orderflow::web::Part;
use orderflow_service::version::DESCRIPTION;

/// Orderflow: orders are accepted at once; payment, stock, shipment and mails follow by events on RabbitMQ.
///
/// Settings come from the environment; `orderflow config` lists them.
/// Exit status: 0 ok, 1 what was checked is not so or was not found, 2 wrong use or settings, 3 something cannot be reached,
/// 141 the output's reader stopped reading.
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
    /// Run the front end until SIGTERM or Ctrl-C: the shop, the console, or both
    ///
    /// A process that customers reach needs fewer rights and secrets where the console is another process.
    Serve {
        /// Run this part only
        part: Option<Part>,
    },
    /// Bring the database's tables up to date; safe to repeat, and from many hosts at once
    Migrate {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Everything that has to exist in RabbitMQ
    #[command(subcommand)]
    Topology(TopologyCommand),
    /// What each kind of process may do: roles of PostgreSQL, and the front ends' user of RabbitMQ
    #[command(subcommand)]
    Rights(RightsCommand),
    /// Services that run outside these programs, in any language
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Every setting: name, value (secrets masked), default, meaning
    Config {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// What can be ordered
    #[command(subcommand)]
    Stock(StockCommand),
    /// One order's whole story: what it waits for, what happened, what failed, what each service did
    ///
    /// Exit status: 0 told; 1 there is no such order; 3 something could not be read, and what could is told.
    Why {
        /// Its id, its number, or the e-mail address that it was placed with; the id of one of its events does too
        order: String,
        /// Answer in JSON; a part that could not be read is null and named in `unavailable`
        #[arg(long)]
        json: bool,
    },
    /// What is wrong with this installation, each finding with its remedy; leaves nothing behind, safe to run at any time
    ///
    /// Exit status: 0 nothing is wrong; 1 there are findings; 2 a setting is missing or wrong; 3 something could not be
    /// checked. What could be found is told in each case.
    Doctor {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Each queue: what waits, how fast it is worked, how many processes it needs, when its backlog is gone
    ///
    /// `ready`, `procs` and `dead` are of this moment; `held` and `in/s` come from RabbitMQ's statistics and are up to five
    /// seconds old; the rest is what workers write to the database every ten seconds.
    /// `-` is not known: nothing was measured yet, or nobody works the queue.
    /// Exit status: 0 told; 3 something could not be read, and what could is told.
    Queues {
        /// Answer in JSON; what is not known is null
        #[arg(long)]
        json: bool,
    },
    /// The flow of orders in this terminal, refreshed each second: rates, depths, lag, errors; q quits
    ///
    /// Exit status: 0 you left; 2 this is no terminal.
    Top,
    /// Check that all orders are consistent: money, stock, parcels, mails, the log; each violation with what to do
    ///
    /// It only reads (but for --record), a part of the orders after the other, and may be run while customers order. What is on its way is no
    /// violation, and neither is an order behind a dead letter: it is named with the command that sends it again.
    /// Exit status: 0 all holds; 1 there are violations, or there is no such order; 3 something could not be checked, and
    /// what was found until then is told.
    Audit(AuditOptions),
    /// What could not be handled: look at it, send it again, throw it away
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Send again what subscriptions never got
    ///
    /// Workers do this by themselves, once a minute and carefully; by hand it is done at once. A queue's
    /// handler ignores an event that it has applied already, so sending too much does no harm.
    /// Exit status: 0 nothing is missing, or all of it was sent; 1 something was not sent; 3 something cannot be reached.
    Republish(RepublishOptions),
    /// Move the history of finished orders out of the way of those that are under way; without --yes, say what would be moved
    ///
    /// The event log's and the inbox's rows of an order go to messaging.event_archive, which `orderflow why`, `orderflow audit` and the
    /// order's page read too: nothing is lost. An order stays while anything of it waits: an event for being published or applied, a
    /// dead letter. Safe to run while customers order, to end at any time, and several times at once. Whoever ran it is written down.
    /// Exit status: 0 told or moved; 3 something cannot be reached, and what was moved until then stays moved.
    Retention(RetentionOptions),
}

impl Command {
    /// Whether it shows or makes something for each service, also for those that run outside these programs.
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
    /// Make the roles and give each the rights that its processes need; safe to repeat, while orders flow, and from many hosts at once
    ///
    /// DATABASE_URL has to name the owner of the tables, who has to be allowed to make roles (CREATEROLE). Run it again after
    /// `orderflow migrate` and `orderflow service register`. Nothing is taken away from anybody.
    Apply {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the same as SQL, for a server on which somebody else makes roles
    Print,
    /// Let RabbitMQ's user orderflow-web publish order.* alone, once no older front end is connected
    ///
    /// Older front ends publish events of all services. RabbitMQ would refuse them that, so nothing is changed while one of them is
    /// connected. AMQP_ADMIN_URL has to name an administrator.
    /// Exit status: 0 done; 1 an older front end is connected.
    Narrow {
        /// Give it back, before going back to an older version
        #[arg(long)]
        undo: bool,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// `orderflow dlq …`
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// Every dead letter, by queue and reason
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// One dead letter, or those of a queue: headers and body
    Show(ShowOptions),
    /// Send dead letters to their queues again: one first, the rest when that was applied
    ///
    /// Mend the cause first. Only what is there now is touched, not what dies meanwhile. When the first one or a later one
    /// dies again, no more are sent: those stay where they are.
    /// Exit status: 0 all were sent and none died again (what is still under way is named); 1 nothing was chosen, or it
    /// stopped, or something died again; 3 something cannot be reached.
    Replay(ReplayOptions),
    /// Throw dead letters away, after they are written to a file
    ///
    /// Their events will never be applied: orders may stay where they are for ever. The file has headers and bodies, a
    /// JSON object a line.
    /// Exit status: 0 thrown away; 1 nothing was chosen, or you said no; 3 something cannot be reached.
    Discard(DiscardOptions),
}

/// `orderflow topology …`
#[derive(Debug, Subcommand)]
pub enum TopologyCommand {
    /// Make what is missing (users too, for which a password is set), then check; safe to repeat
    Apply {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare RabbitMQ with what has to exist
    Check {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Write what has to exist in the form that RabbitMQ loads at its start (rabbitmq/definitions.json)
    Export,
}

/// `orderflow service …`
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Write a service down: its queues, and what commands and console show of it, follow; safe to repeat
    ///
    /// What was registered by the same name is replaced. `orderflow topology apply` then makes its queues.
    /// Exit status: 0 it is so; 2 a name is wrong or taken.
    Register(RegisterOptions),
    /// Every service: those that these programs are built with, and those that are registered
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a service that was registered; its queues stay
    ///
    /// Exit status: 0 it is so; 1 no such service is registered.
    Remove {
        /// Its name
        name: String,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}

/// `orderflow stock …`
#[derive(Debug, Subcommand)]
pub enum StockCommand {
    /// Every product and how many pieces of it can be ordered
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Make that many pieces orderable from now on
    ///
    /// Exit status: 0 it is so; 1 there is no such product, or another number than --expected was available.
    Set {
        /// The product
        sku: String,
        /// Pieces, 0 or more
        #[arg(value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
        available: i64,
        /// Only if that many are available now; without this, whatever there are
        #[arg(long, value_name = "M", value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
        expected: Option<i64>,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
}
