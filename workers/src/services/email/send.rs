//! Sends mails: stores the intent, sends the mail, then marks it as sent.

use std::{marker::PhantomData, num::NonZeroU32, sync::Arc};

use diesel_async::AsyncConnection as _;
use orderflow_events::{Envelope, NewEvent};
use orderflow_order::{domain, token::OrderLinks};
use orderflow_service::{
    Failure,
    call_guard::{CallGuard, Guarded},
    handler::{Done, Handler},
    store::{Connection, StoreError},
};
use uuid::Uuid;

use super::{
    dependencies::EmailDependencies,
    letter::Letter,
    store::{self, Intent, Item},
    templates::View,
};
use crate::providers::mail::{Mail, Mailer};

/// Sends the mail for one event type.
///
/// A crash between sending and marking can at worst repeat the mail, with the same Message-ID.
pub struct SendMail<L> {
    mailer: Guarded<dyn Mailer>,
    links: OrderLinks,
    limit: Option<NonZeroU32>,
    letter: PhantomData<fn() -> L>,
}

impl<L: Letter> SendMail<L> {
    /// Returns a handler with this mailer. If mails of this type are limited, it holds back those beyond the limit.
    #[must_use]
    pub fn new(needed: &EmailDependencies) -> Self {
        Self {
            mailer: needed.mailer.clone(),
            links: needed.links.clone(),
            limit: needed.limit.filter(|_| L::IS_LIMITED),
            letter: PhantomData,
        }
    }

    /// Plans the mails of these orders. Under a limit this is one transaction: after a crash in between, new mails would
    /// be sent that the limit holds back.
    async fn plan(&self, connection: &mut Connection, orders: &[Uuid]) -> Result<(), StoreError> {
        let Some(limit) = self.limit else {
            store::plan(connection, L::NAME, self.mailer.domain(), orders).await?;
            return Ok(());
        };
        let held_back = connection
            .transaction::<_, StoreError, _>(async |connection| {
                let planned = store::plan(connection, L::NAME, self.mailer.domain(), orders).await?;
                store::hold_back(connection, L::NAME, &planned, limit).await
            })
            .await?;
        if held_back > 0 {
            tracing::info!(mails = held_back, "mails are held back: MAIL_LIMIT is reached for their addresses");
        }
        Ok(())
    }
}

/// What to do for an event.
pub enum Task {
    /// Nothing: an earlier delivery of the event sent the mail, or the mail is held back.
    Nothing,
    /// Send the mail.
    Send(Box<Draft>),
}

/// The data of a mail that is not rendered yet.
pub struct Draft {
    order: Intent,
    items: Vec<Item>,
}

impl<L: Letter> Handler for SendMail<L> {
    type Event = L;
    type Input = Task;
    type Effect = ();

    fn guard(&self) -> Option<&Arc<CallGuard>> {
        Some(&self.mailer.guard)
    }

    async fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Envelope<L>>],
    ) -> Result<Vec<Result<Task, Failure>>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|event| event.order_id).collect();
        self.plan(connection, &orders).await?;
        let intents = store::intents(connection, L::NAME, &orders).await?;
        let items = store::items(connection, &orders).await?;
        let task = |order: &Uuid| match intents.get(order) {
            None => Err(Failure::no_such_order()),
            Some(intent) if intent.is_done => Ok(Task::Nothing),
            Some(intent) => {
                let items = items.get(order).cloned().unwrap_or_default();
                Ok(Task::Send(Box::new(Draft { order: intent.clone(), items })))
            }
        };
        Ok(orders.iter().map(task).collect())
    }

    async fn act(&self, event: &Envelope<L>, task: Task) -> Result<(), Failure> {
        let Task::Send(draft) = task else { return Ok(()) };
        let page = self.links.page(event.order_id, draft.order.created_at);
        let words = View::new(&draft.order, &draft.items, page)
            .and_then(|view| event.data.write(&view))
            .map_err(|error| Failure::reject(error.to_string()))?;
        let mail = Mail {
            message_id: draft.order.message_id,
            // The name is shown next to the address, so the greeting's rule applies to it too.
            to_name: domain::greetable(&draft.order.name).map(str::to_owned),
            to_address: draft.order.email,
            subject: words.subject,
            text: words.text,
            html: words.html,
        };
        self.mailer.guard.call(self.mailer.send(mail)).await
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<L, ()>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let orders: Vec<Uuid> = batch.iter().map(|done| done.event.order_id).collect();
        store::mark_sent(connection, L::NAME, &orders).await?;
        Ok(Vec::new())
    }
}
