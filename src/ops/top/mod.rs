//! `orderflow top`: the flow of orders in the terminal, refreshed each second.

mod draw;
mod gather;
mod model;
#[cfg(test)]
mod sample;
mod screen;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use chrono::Utc;
use orderflow_service::{
    broker::Connector,
    config::{AdminConfig, Admission, BrokerConfig, DatabaseConfig, Source},
    shutdown,
    store::Database,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use self::{model::Model, screen::Screen};
use super::{Exit, Failed};
use crate::ops::queues::inspect::Broker;

/// Time between two drawings, unless a key is pressed.
const REFRESH: Duration = Duration::from_secs(1);

/// The most answers that wait for the screen.
const ANSWERS: usize = 4;

/// Shows the flow until a key or a signal ends it. An unavailable broker or database is shown, and is not an error.
///
/// Standard output must not be locked: a panic restores the terminal from whichever thread it happens in.
///
/// # Errors
/// Returns [`Failed::Usage`] if standard input or output is not a terminal; see [`Failed`].
pub async fn run(source: &Source) -> Result<Exit, Failed> {
    let (admin, database) = (AdminConfig::read(source), DatabaseConfig::read(source));
    let settings = admin.zip(BrokerConfig::read_admin(source)).zip(database).zip(Admission::read(source));
    let (((admin, broker), database), limits) = source.finish(settings)?;
    let broker = Broker::new(&Connector::new(&broker, "orderflow top"), admin)?;
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Failed::Usage(
            "`orderflow top` needs a terminal; `orderflow queues` shows the same once".to_owned(),
        ));
    }
    let database = Database::new(&database, "orderflow top", 1)?;
    let (listener, answers) = mpsc::channel(ANSWERS);
    let count_up_to = limits.max_outbox_rows.saturating_add(1);
    let mut asking = JoinSet::new();
    asking.spawn(gather::broker(broker, listener.clone()));
    asking.spawn(gather::database(database, count_up_to, listener));
    watch(Model::new(limits, Utc::now()), answers, asking).await?;
    Ok(Exit::Ok)
}

async fn watch(mut model: Model, mut answers: mpsc::Receiver<gather::Said>, mut asking: JoinSet<()>) -> io::Result<()> {
    let stop = shutdown::on_signal()?;
    let mut screen = Screen::take()?;
    let mut commands = screen::keys();
    let mut seconds = interval(REFRESH);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = seconds.tick() => model.tick(Utc::now()),
            Some(said) = answers.recv() => {
                model.hear(said);
                // The answer is drawn with the next tick.
                continue;
            }
            // The tasks run as long as the receiver lives: one that ends has panicked, which restored the terminal.
            _ = asking.join_next() => return Err(io::Error::other("a task that queries the servers has ended")),
            command = commands.recv() => match command {
                Some(command) => if !model.execute(command) { return Ok(()) },
                None => return Err(io::Error::other("the thread that reads the keys has ended")),
            },
            () = stop.cancelled() => return Ok(()),
        }
        screen.show(&model)?;
    }
}
