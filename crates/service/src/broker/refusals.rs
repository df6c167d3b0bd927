//! Messages that the user may not publish. RabbitMQ closes the channel for one and does not say which it was.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::Message;

/// How long a kind of event that was refused is not sent, and messages go one at a time after a refusal whose cause is not known yet:
/// as long as a relay's lease, so that the row that was refused is tried again meanwhile.
const CAREFUL: Duration = Duration::from_secs(60);

/// Refused kinds that are remembered: far more than there are kinds.
const MOST_REFUSED: usize = 1_000;

/// What is known of messages that the user may not publish.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// Where refused messages go, as exchange and routing key, and when one is tried again.
    forbidden: HashMap<(String, String), Instant>,
    /// Until when messages go one at a time.
    alone_until: Option<Instant>,
    /// Where the only message on its way goes.
    alone: Option<(String, String)>,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is known against it.
    Send,
    /// Such a message was refused: to be sent when nothing else is on its way.
    SendAlone,
    /// Such a message was refused just now.
    Refuse,
}

impl Care {
    /// Returns what to do with a message.
    pub(super) fn verdict(&self, message: &Message) -> Verdict {
        // Mostly nothing is refused, and then no name is copied.
        if self.forbidden.is_empty() {
            return Verdict::Send;
        }
        match self.forbidden.get(&destination(message)) {
            None => Verdict::Send,
            Some(again) if *again > Instant::now() => Verdict::Refuse,
            Some(_) => Verdict::SendAlone,
        }
    }

    /// The broker has taken a message that was sent alone.
    pub(super) fn allowed(&mut self) {
        if let Some(destination) = self.alone.take() {
            self.forbidden.remove(&destination);
        }
    }

    /// Returns how many messages may be on their way, `usually` where nothing was refused.
    pub(super) fn at_most(&self, usually: usize) -> usize {
        if self.alone_until.is_some_and(|until| until > Instant::now()) { 1 } else { usually }
    }

    /// Notes where a message goes that is `alone` on its way.
    pub(super) fn sending(&mut self, message: &Message, alone: bool) {
        self.alone = alone.then(|| destination(message));
    }

    /// The broker has closed the channel because of a message that was on its way.
    pub(super) fn refused(&mut self) {
        let until = Instant::now() + CAREFUL;
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
                self.forbidden.insert((exchange, key), until);
                self.alone_until = None;
            }
            None => self.alone_until = Some(until),
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
    async fn refused_kind_is_found_alone_and_tried_once_a_minute_while_others_go_on() {
        let (mut care, refused, other) = (Care::default(), event("payment.completed"), event("order.created"));
        assert_eq!((care.verdict(&refused), care.at_most(100)), (Verdict::Send, 100));

        // Many were on their way, so nobody knows yet which one it was.
        care.refused();
        assert_eq!((care.verdict(&refused), care.at_most(100)), (Verdict::Send, 1));
        care.sending(&other, true);
        care.allowed();
        care.sending(&refused, true);
        care.refused();
        assert_eq!((care.verdict(&refused), care.verdict(&other)), (Verdict::Refuse, Verdict::Send));
        assert_eq!(care.at_most(100), 100, "the cause is known");

        tokio::time::advance(CAREFUL).await;
        assert_eq!(care.verdict(&refused), Verdict::SendAlone);
        care.sending(&refused, true);
        care.refused();
        assert_eq!(care.verdict(&refused), Verdict::Refuse, "for another minute");
        tokio::time::advance(CAREFUL).await;
        care.sending(&refused, true);
        care.allowed();
        assert_eq!(care.verdict(&refused), Verdict::Send, "it may publish it now");
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_whose_cause_is_not_found_slows_publishing_for_a_minute_only() {
        let mut care = Care::default();
        care.refused();
        tokio::time::advance(CAREFUL).await;
        assert_eq!(care.at_most(100), 100);
    }
}
