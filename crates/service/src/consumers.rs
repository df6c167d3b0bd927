//! Hides a handler's type behind one type of consumer.

use std::{fmt, sync::Arc};

use actix_rt::ArbiterHandle;
use futures::{FutureExt as _, future::BoxFuture};

use crate::{
    Subscription,
    handler::Handler,
    pipeline::{supervise::supervise, worker_context::WorkerContext},
};

type Start = Box<dyn FnOnce(WorkerContext, ArbiterHandle) -> BoxFuture<'static, ()> + Send>;

/// Consumes one queue with one handler.
pub struct Consumer {
    /// The subscription whose queue it consumes.
    pub subscription: Subscription,
    start: Start,
}

impl Consumer {
    /// Returns a consumer of this subscription's queue.
    pub(crate) fn new<H: Handler>(subscription: Subscription, handler: H) -> Self {
        let start: Start =
            Box::new(move |process, arbiter| supervise(process, subscription, Arc::new(handler), arbiter).boxed());
        Self { subscription, start }
    }

    /// Starts the consumer. The returned future ends when the process stops.
    pub fn start(self, process: WorkerContext, arbiter: ArbiterHandle) -> BoxFuture<'static, ()> {
        (self.start)(process, arbiter)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(&self.subscription).finish()
    }
}
