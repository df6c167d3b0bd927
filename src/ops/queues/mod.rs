//! `orderflow queues`: each work queue with what waits, how fast it is worked, how many processes it needs, and when its
//! backlog is gone.

pub(crate) mod figures;
pub(crate) mod inspect;
pub(super) mod report;

use std::{io::Write, time::Duration};

use orderflow_service::{
    broker::Connector,
    config::{AdminConfig, BrokerConfig, DatabaseConfig, Source},
    store::Database,
};

use self::{
    figures::Figures,
    inspect::{Broker, Depths},
    report::Report,
};
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
    let (figures, unavailable) = read(Some(&broker), &database, WITHIN).await;
    let report = Report::new(figures, unavailable);
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        report.tell(out)?;
    }
    Ok(if report.is_complete() { Exit::Ok } else { Exit::Unreachable })
}

/// Every work queue's figures as far as they can be read, and what could not be, with why. Without an administrator the
/// broker is not asked. Each is asked for at most `within`.
pub(crate) async fn read(
    broker: Option<&Broker>,
    database: &Database,
    within: Duration,
) -> (Vec<Figures>, Vec<String>) {
    let asking = async {
        match broker {
            Some(broker) => broker.depths(within).await,
            None => {
                let why = "AMQP_ADMIN_URL is not set, so RabbitMQ cannot be asked what is in its queues";
                Depths { queues: None, unavailable: vec![why.to_owned()] }
            }
        }
    };
    let (Depths { queues: depths, mut unavailable }, known) = tokio::join!(asking, inspect::database(database, within));
    unavailable.extend(known.as_ref().err().cloned());
    (figures::figures(depths.as_deref(), known.ok().as_ref()), unavailable)
}
