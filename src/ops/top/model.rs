//! The content of the screen: the servers' last answers, the recent history of each queue, and the operator's choices.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use orderflow_service::config::Admission;

use super::gather::{Said, View};
use crate::{
    broker::QueueDepth,
    ops::queues::figures::{Figures, figures},
};

/// Seconds of history kept for each queue.
pub const PAST: usize = 120;

/// The state of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// The first answer is outstanding.
    Asking,
    /// It answers.
    Ok,
    /// It does not answer, and why.
    Away(String),
}

/// The command of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyCommand {
    /// Quit.
    Quit,
    /// Toggle between all queues and those with activity.
    All,
    /// Scroll up by this many queues.
    Up(usize),
    /// Scroll down by this many queues.
    Down(usize),
    /// Redraw the screen.
    Redraw,
}

/// A queue's row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its figures.
    pub figures: Figures,
    /// Messages a second that arrived in the last seconds.
    pub arrivals_now: Option<f64>,
}

/// Everything that the screen shows.
#[derive(Debug)]
pub struct Model {
    /// The broker.
    pub broker: Server,
    /// The database.
    pub database: Server,
    depths: Option<Vec<QueueDepth>>,
    view: Option<View>,
    rows: Vec<Row>,
    past: HashMap<String, VecDeque<Option<u32>>>,
    limits: Admission,
    /// Whether to show every queue.
    pub all: bool,
    /// The index of the first queue to show.
    pub first: usize,
    /// The current time.
    pub now: DateTime<Utc>,
}

impl Model {
    /// Returns an empty model. `limits` are those beyond which front ends refuse orders.
    #[must_use]
    pub fn new(limits: Admission, now: DateTime<Utc>) -> Self {
        let mut model = Self {
            broker: Server::Asking,
            database: Server::Asking,
            depths: None,
            view: None,
            rows: Vec::new(),
            past: HashMap::new(),
            limits,
            all: false,
            first: 0,
            now,
        };
        model.work_out();
        model
    }

    /// Stores a server's answer. A failure discards the earlier answer, because old figures look like new ones.
    pub fn hear(&mut self, said: Said) {
        match said {
            Said::Broker(answer) => (self.broker, self.depths) = heard(answer),
            Said::Database(answer) => (self.database, self.view) = heard(*answer),
        }
        self.work_out();
    }

    /// Records that another second has passed.
    pub fn tick(&mut self, now: DateTime<Utc>) {
        self.now = now;
        for row in &self.rows {
            let past = self.past.entry(row.figures.queue.clone()).or_default();
            if past.len() == PAST {
                past.pop_front();
            }
            past.push_back(row.figures.ready);
        }
    }

    /// Executes the command of a key; returns `false` to quit.
    pub fn execute(&mut self, command: KeyCommand) -> bool {
        match command {
            KeyCommand::Quit => return false,
            KeyCommand::All => (self.all, self.first) = (!self.all, 0),
            KeyCommand::Up(by) => self.first = self.first.saturating_sub(by),
            KeyCommand::Down(by) => self.first = self.first.saturating_add(by).min(self.rows.len().saturating_sub(1)),
            KeyCommand::Redraw => {}
        }
        true
    }

    /// Returns the queues to show in `room` rows: all of them if they fit or were requested, otherwise those with
    /// activity, from [`Model::first`] on.
    #[must_use]
    pub fn shown(&self, room: usize) -> Vec<&Row> {
        let all = self.all || self.rows.len() <= room;
        let chosen: Vec<_> = self.rows.iter().filter(|row| all || !row.figures.is_quiet()).collect();
        // Never scrolled past the end.
        let first = self.first.min(chosen.len().saturating_sub(room));
        chosen.into_iter().skip(first).take(room).collect()
    }

    /// Returns the number of queues.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.rows.len()
    }

    /// Returns a queue's depth in each of the last seconds, the oldest first; `None` where it is unknown.
    pub fn past(&self, queue: &str) -> impl DoubleEndedIterator<Item = Option<u32>> {
        self.past.get(queue).into_iter().flatten().copied()
    }

    /// Returns the database's last answer.
    #[must_use]
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// Returns whether front ends refuse orders, by these settings' limits; they read the same outbox.
    #[must_use]
    pub fn refusing(&self) -> Option<bool> {
        let outbox = self.view.as_ref()?.outbox.as_ref()?.of_orders();
        let too_old = outbox.oldest_seconds > self.limits.max_outbox_age.as_secs_f64();
        Some(too_old || outbox.rows > self.limits.max_outbox_rows)
    }

    fn work_out(&mut self) {
        let known = self.view.as_ref().map(|view| &view.known);
        let found = figures(self.depths.as_deref(), known);
        let arrivals = |queue: &str| self.depths.as_ref()?.iter().find(|depth| depth.name == queue)?.arrivals_now();
        self.rows = found
            .into_iter()
            .map(|figures| Row { arrivals_now: arrivals(&figures.queue).or(figures.arrivals_per_second), figures })
            .collect();
    }
}

fn heard<T>(answer: Result<T, String>) -> (Server, Option<T>) {
    match answer {
        Ok(said) => (Server::Ok, Some(said)),
        Err(why) => (Server::Away(why), None),
    }
}

#[cfg(test)]
mod tests {
    use orderflow_service::store::outbox::{Depth, Depths};

    use super::{super::sample, *};

    #[test]
    fn history_is_bounded() {
        let mut model = sample::busy();
        for _ in 0..3 * PAST {
            model.tick(sample::moment());
        }
        assert!(model.rows.iter().all(|row| model.past(&row.figures.queue).count() == PAST));
    }

    #[test]
    fn earlier_answer_of_an_unavailable_server_is_not_shown() {
        let mut model = sample::busy();
        assert!(model.rows.iter().any(|row| row.figures.ready.is_some() && row.figures.handled_per_second.is_some()));
        model.hear(Said::Broker(Err("cut".to_owned())));
        assert_eq!(model.broker, Server::Away("cut".to_owned()));
        assert!(model.rows.iter().all(|row| row.figures.ready.is_none() && row.arrivals_now.is_none()));
        assert!(
            model.rows.iter().any(|row| row.figures.handled_per_second.is_some()),
            "the other server's answer stays"
        );
        model.hear(Said::Database(Box::new(Err("cut".to_owned()))));
        assert!(model.view().is_none() && model.refusing().is_none());
    }

    #[test]
    fn quiet_queues_are_omitted_from_a_small_screen_unless_requested() {
        let mut model = sample::busy();
        assert_eq!(model.shown(50).len(), model.queues());
        let busy = model.shown(10).len();
        assert!(busy > 1 && busy < 10, "{busy}");
        assert!(model.execute(KeyCommand::All));
        assert_eq!(model.shown(10).len(), 10);
        assert!(model.execute(KeyCommand::Down(1_000)));
        let last = |model: &Model| model.shown(10).last().map(|row| row.figures.queue.clone());
        assert_eq!(last(&model).as_deref(), Some("order.other"));
        assert!(model.execute(KeyCommand::Up(1_000)));
        assert_eq!(model.shown(10)[0].figures.queue, "payment.order-created");
        assert!(!model.execute(KeyCommand::Quit));
    }

    #[test]
    fn orders_are_refused_beyond_either_limit() {
        let mut model = sample::busy();
        assert_eq!(model.refusing(), Some(false));
        for (rows, oldest_seconds) in [(200_001, 1.0), (1, 901.0)] {
            let waits = |event: &str| Depths([(event.to_owned(), Depth { rows, oldest_seconds })].into());
            let of_others = Some(waits("payment.completed"));
            model.hear(Said::Database(Box::new(Ok(View { outbox: of_others, ..View::default() }))));
            assert_eq!(model.refusing(), Some(false));
            let outbox = Some(waits("order.created"));
            model.hear(Said::Database(Box::new(Ok(View { outbox, ..View::default() }))));
            assert_eq!(model.refusing(), Some(true));
        }
    }
}
