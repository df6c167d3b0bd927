//! `orderflow queues`: each work queue with its backlog, its rates, the processes that it needs, and when its backlog
//! is gone.

pub(crate) mod figures;
pub(crate) mod inspect;
pub(super) mod report;

use std::{io::Write, time::Duration};

use orderflow_service::{
    broker::Connector,
    config::{AdminConfig, BrokerConfig, DatabaseConfig, Source},
    store::{Database, outbox::Depths},
};

use self::{figures::Figures, inspect::Broker, report::Report};
use super::{Exit, Failed};

/// How long broker and database may each take to answer. A busy broker needs seconds to list its queues; the database
/// needs milliseconds.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);

/// Writes every work queue's figures.
///
/// Returns [`Exit::Unreachable`] if something could not be read; the rest is written.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let (admin, database) = (AdminConfig::read(source), DatabaseConfig::read(source));
    let all = admin.zip(BrokerConfig::read_admin(source)).zip(database);
    let ((admin, broker), database) = source.finish(all)?;
    let broker = Broker::new(&Connector::new(&broker, "orderflow queues"), admin)?;
    let database = Database::new(&database, "orderflow queues", 1)?;
    let report = Report::new(read(Some(&broker), &database, WITHIN).await);
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        report.tell(out)?;
    }
    Ok(if report.is_complete() { Exit::Ok } else { Exit::Unreachable })
}

/// What could be read about queues.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// Every work queue's figures.
    pub figures: Vec<Figures>,
    /// Events that are not published yet; empty if the database could not be read.
    pub outbox: Depths,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

/// Reads the queues from broker and database. Each may take `within`. If `broker` is `None`, since `AMQP_ADMIN_URL` is
/// not set, only the database is read.
pub(crate) async fn read(broker: Option<&Broker>, database: &Database, within: Duration) -> Queues {
    let asking = async {
        match broker {
            Some(broker) => broker.depths(within).await,
            None => {
                let why = "AMQP_ADMIN_URL is not set, so RabbitMQ's queues cannot be read";
                inspect::Depths { queues: None, unavailable: vec![why.to_owned()] }
            }
        }
    };
    let (inspect::Depths { queues: depths, mut unavailable }, known) =
        tokio::join!(asking, inspect::database(database, within));
    unavailable.extend(known.as_ref().err().cloned());
    let known = known.ok();
    let figures = figures::figures(depths.as_deref(), known.as_ref());
    Queues { figures, outbox: known.map(|known| known.outbox).unwrap_or_default(), unavailable }
}
