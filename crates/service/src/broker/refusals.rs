//! Finds out which messages the user may not publish. RabbitMQ closes the channel for such a message, with everything in
//! flight, and does not say which one it was.
//!
//! The right depends only on exchange and routing key. So after a refusal, each destination that was in use is a
//! suspect: its next message goes alone. If RabbitMQ accepts that message, the destination is cleared; if it refuses
//! it, the destination is known.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::Message;

/// How long messages to a refused destination are not sent. As long as a relay's lease, so that its rows are tried again
/// about once per lease.
const NOT_SENT: Duration = Duration::from_secs(60);

/// The most destinations to remember in each set: far more than exist.
const MOST: usize = 1_000;

/// An exchange and a routing key.
type Destination = (String, String);

/// What is known about messages that the user may not publish.
#[derive(Debug, Default)]
pub(super) struct Care {
    /// Where messages were sent together with others since the last refusal that was not explained.
    in_use: HashSet<Destination>,
    /// Destinations that were in use at such a refusal.
    suspects: HashSet<Destination>,
    /// Refused destinations, and when to try each again.
    forbidden: HashMap<Destination, Instant>,
    /// The destination of the message that is in flight alone.
    alone: Option<Destination>,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is known against it.
    Send,
    /// It may be refused: send it when no other is in flight.
    SendAlone,
    /// Such a message was refused recently: do not send it.
    Refuse,
}

impl Care {
    /// Returns what to do with a message.
    pub(super) fn verdict(&self, message: &Message) -> Verdict {
        let destination = destination(message);
        match self.forbidden.get(&destination) {
            Some(again) if *again > Instant::now() => Verdict::Refuse,
            None if !self.suspects.contains(&destination) => Verdict::Send,
            Some(_) | None => Verdict::SendAlone,
        }
    }

    /// Records that a message is sent together with others.
    pub(super) fn sending_together(&mut self, message: &Message) {
        self.alone = None;
        if self.in_use.len() >= MOST {
            self.in_use.clear();
        }
        self.in_use.insert(destination(message));
    }

    /// Records that a message is sent while no other is in flight.
    pub(super) fn sending_alone(&mut self, message: &Message) {
        self.alone = Some(destination(message));
    }

    /// Records that the broker answered the message that was sent alone.
    pub(super) fn allowed(&mut self) {
        if let Some(destination) = self.alone.take() {
            self.suspects.remove(&destination);
            self.forbidden.remove(&destination);
        }
    }

    /// Records that the broker closed the channel because of a message in flight.
    pub(super) fn refused(&mut self) {
        let Some(destination) = self.alone.take() else {
            if self.suspects.len() >= MOST {
                self.suspects.clear();
            }
            self.suspects.extend(self.in_use.drain());
            return;
        };
        let (exchange, key) = &destination;
        tracing::error!(
            exchange,
            key,
            hint = "`orderflow topology apply` sets what each user may publish; `orderflow doctor` names who may not",
            "the user in AMQP_URL may not publish this event; it stays in the outbox, and other events are published"
        );
        self.suspects.remove(&destination);
        if self.forbidden.len() >= MOST {
            self.forbidden.clear();
        }
        self.forbidden.insert(destination, Instant::now() + NOT_SENT);
    }
}

fn destination(message: &Message) -> Destination {
    (message.exchange.clone(), message.routing_key.clone())
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

    /// Sends these messages together; RabbitMQ refuses one of them.
    fn refused_together(care: &mut Care, messages: [&Message; 2]) {
        messages.into_iter().for_each(|message| care.sending_together(message));
        care.refused();
    }

    fn refused_alone(care: &mut Care, message: &Message) {
        assert_eq!(care.verdict(message), Verdict::SendAlone);
        care.sending_alone(message);
        care.refused();
    }

    #[tokio::test(start_paused = true)]
    async fn refused_kind_is_isolated_and_tried_once_a_minute_while_others_are_published() {
        let (mut care, refused, other) = (Care::default(), event("payment.completed"), event("payment.failed"));
        assert_eq!(care.verdict(&refused), Verdict::Send);
        refused_together(&mut care, [&other, &refused]);
        assert_eq!(care.verdict(&event("payment.voided")), Verdict::Send, "it was not in flight");

        assert_eq!(care.verdict(&other), Verdict::SendAlone);
        care.sending_alone(&other);
        care.allowed();
        refused_alone(&mut care, &refused);
        assert_eq!((care.verdict(&refused), care.verdict(&other)), (Verdict::Refuse, Verdict::Send));

        tokio::time::advance(NOT_SENT).await;
        refused_alone(&mut care, &refused);
        assert_eq!(care.verdict(&refused), Verdict::Refuse, "refused for another minute");
        tokio::time::advance(NOT_SENT).await;
        care.sending_alone(&refused);
        care.allowed();
        assert_eq!(care.verdict(&refused), Verdict::Send, "the user may publish it now");
    }

    #[tokio::test(start_paused = true)]
    async fn second_refused_kind_is_found_while_the_first_is_refused_again() {
        let (mut care, known, rare) = (Care::default(), event("payment.completed"), event("payment.refunded"));
        refused_together(&mut care, [&known, &event("payment.failed")]);
        refused_alone(&mut care, &known);
        refused_together(&mut care, [&rare, &event("payment.failed")]);
        tokio::time::advance(NOT_SENT).await;
        refused_alone(&mut care, &known);
        refused_alone(&mut care, &rare);
        assert_eq!((care.verdict(&known), care.verdict(&rare)), (Verdict::Refuse, Verdict::Refuse));
    }

    #[tokio::test]
    async fn refusal_is_not_blamed_on_a_message_that_was_alone_earlier() {
        let (mut care, suspect, other) = (Care::default(), event("payment.completed"), event("payment.failed"));
        refused_together(&mut care, [&suspect, &other]);
        // The connection broke for another reason while it was in flight.
        care.sending_alone(&suspect);
        refused_together(&mut care, [&event("payment.voided"), &event("payment.refunded")]);
        assert_eq!(care.verdict(&suspect), Verdict::SendAlone);
    }
}
