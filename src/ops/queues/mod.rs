//! `orderflow queues`: each work queue with what waits, how fast it is worked, how many processes it needs, and when its
//! backlog is gone.

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

/// Enough for a busy broker to list its queues; the database needs milliseconds.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);

/// Writes every work queue's figures.
///
/// Ends with [`Exit::Unreachable`] where something could not be read; what could is told.
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

/// What is read of queues, as far as it can be.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    /// Every work queue's figures.
    pub figures: Vec<Figures>,
    /// Events that are not published yet; empty where the database does not say.
    pub outbox: Depths,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

/// Reads it. Without an administrator the broker is not asked. Each is asked for at most `within`.
pub(crate) async fn read(broker: Option<&Broker>, database: &Database, within: Duration) -> Queues {
    let asking = async {
        match broker {
            Some(broker) => broker.depths(within).await,
            None => {
                let why = "AMQP_ADMIN_URL is not set, so RabbitMQ cannot be asked what is in its queues";
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
