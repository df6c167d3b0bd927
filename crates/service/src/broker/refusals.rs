//! Tracks messages that the user may not publish. RabbitMQ closes the channel for such a message and does not say which
//! one it was.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::Message;

/// How long a refused kind of event is not sent: as long as a relay's lease, so that its rows are tried again with each
/// lease.
const NOT_SENT: Duration = Duration::from_secs(60);

/// How long messages go one at a time after a refusal whose cause is not known yet. Longer than a relay's lease and the
/// time to its next step: all rows that were lost together with the refused one come back within that time. With 60 s
/// they came back too late, and were lost together again, for ever.
const ONE_AT_A_TIME: Duration = Duration::from_secs(120);

/// The most refused kinds to remember: far more than exist.
const MOST_REFUSED: usize = 1_000;

/// What is known about messages that the user may not publish.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// The exchange and routing key of refused messages, and when to try one again.
    forbidden: HashMap<(String, String), Instant>,
    /// Until when messages go one at a time.
    alone_until: Option<Instant>,
    /// The destination of the only message in flight.
    alone: Option<(String, String)>,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is known against it.
    Send,
    /// Such a message was refused: send it when no other is in flight.
    SendAlone,
    /// Such a message was refused recently: do not send it.
    Refuse,
}

impl Care {
    /// Returns what to do with a message.
    pub(super) fn verdict(&self, message: &Message) -> Verdict {
        // Usually nothing is refused; then this copies no name.
        if self.forbidden.is_empty() {
            return Verdict::Send;
        }
        match self.forbidden.get(&destination(message)) {
            None => Verdict::Send,
            Some(again) if *again > Instant::now() => Verdict::Refuse,
            Some(_) => Verdict::SendAlone,
        }
    }

    /// Records that the broker accepted a message that was sent alone.
    pub(super) fn allowed(&mut self) {
        if let Some(destination) = self.alone.take() {
            self.forbidden.remove(&destination);
        }
    }

    /// Returns how many messages may be in flight; `usually` while nothing is refused.
    pub(super) fn at_most(&self, usually: usize) -> usize {
        if self.alone_until.is_some_and(|until| until > Instant::now()) { 1 } else { usually }
    }

    /// Records the destination of a message that is `alone` in flight.
    pub(super) fn sending(&mut self, message: &Message, alone: bool) {
        self.alone = alone.then(|| destination(message));
    }

    /// Records that the broker closed the channel because of a message in flight.
    pub(super) fn refused(&mut self) {
        match self.alone.take() {
            Some((exchange, key)) => {
                tracing::error!(
                    exchange,
                    key,
                    hint = "`orderflow topology apply` sets what each user may publish; `orderflow doctor` names who may not",
                    "the user in AMQP_URL may not publish this event; it stays in the outbox, and other events are published"
                );
                if self.forbidden.len() >= MOST_REFUSED {
                    self.forbidden.clear();
                }
                self.forbidden.insert((exchange, key), Instant::now() + NOT_SENT);
                self.alone_until = None;
            }
            None => self.alone_until = Some(Instant::now() + ONE_AT_A_TIME),
        }
    }
}

fn destination(message: &Message) -> (String, String) {
    (message.exchange.to_string(), message.routing_key.to_string())
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    fn event(key: &str) -> Message {
        Message {
            exchange: "orders.events".to_owned(),
            routing_key: key.to_owned(),
            properties: BasicProperties::default(),
            body: Vec::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_kind_is_isolated_and_tried_once_a_minute_while_others_are_published() {
        let (mut care, refused, other) = (Care::default(), event("payment.completed"), event("order.created"));
        assert_eq!((care.verdict(&refused), care.at_most(100)), (Verdict::Send, 100));

        // Many were in flight, so the cause is not known yet.
        care.refused();
        assert_eq!((care.verdict(&refused), care.at_most(100)), (Verdict::Send, 1));
        care.sending(&other, true);
        care.allowed();
        care.sending(&refused, true);
        care.refused();
        assert_eq!((care.verdict(&refused), care.verdict(&other)), (Verdict::Refuse, Verdict::Send));
        assert_eq!(care.at_most(100), 100, "the cause is known");

        tokio::time::advance(NOT_SENT).await;
        assert_eq!(care.verdict(&refused), Verdict::SendAlone);
        care.sending(&refused, true);
        care.refused();
        assert_eq!(care.verdict(&refused), Verdict::Refuse, "refused for another minute");
        tokio::time::advance(NOT_SENT).await;
        care.sending(&refused, true);
        care.allowed();
        assert_eq!(care.verdict(&refused), Verdict::Send, "the user may publish it now");
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_whose_cause_is_not_found_slows_publishing_until_the_lost_rows_are_tried_again() {
        let mut care = Care::default();
        care.refused();
        // A lease of the outbox and the longest pause of its loop.
        tokio::time::advance(Duration::from_millis(61_500)).await;
        assert_eq!(care.at_most(100), 1);
        tokio::time::advance(ONE_AT_A_TIME).await;
        assert_eq!(care.at_most(100), 100);
    }
}
