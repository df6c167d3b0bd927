//! The worker with a bug in a service: its handler for payment.order-created panics for one order, or aborts the
//! process as a stack overflow does.
//!
//! `FAULT_STEP` (`prepare`, `act` or `record`; the prefix `abort-` aborts the process), `FAULT_ORDER` (an order's id)
//! and `FAULT_TIMES` set when it happens and how many times. With `FAULT_STEP=hang`, `act` never finishes for the
//! order.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use orderflow_events::{Envelope, NewEvent, OrderCreated};
use orderflow_service::{
    Failure, Roster,
    call_guard::CallGuard,
    config::Source,
    handler::{Done, Handler},
    process::{self, Settings},
    store::{Connection, StoreError},
    telemetry,
};
use orderflow_worker::services::{self, payment::ChargeOrder};
use uuid::Uuid;

/// Logged each time it begins to hang.
const HANGS: &str = "hangs, as the test asked";

struct Faulty {
    inner: ChargeOrder,
    step: String,
    order: Uuid,
    times: AtomicU32,
}

impl Faulty {
    fn step(&self, step: &str, mut orders: impl Iterator<Item = Uuid>) {
        let (abort, at) = self.step.split_once('-').map_or((false, self.step.as_str()), |(_, at)| (true, at));
        if at == step && orders.any(|order| order == self.order) {
            let left = self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if abort && left.is_ok() {
                std::process::abort();
            }
            assert!(left.is_err(), "the fault that the test asked for");
        }
    }
}

impl Handler for Faulty {
    type Event = OrderCreated;
    type Input = <ChargeOrder as Handler>::Input;
    type Effect = <ChargeOrder as Handler>::Effect;

    fn guard(&self) -> Option<&Arc<CallGuard>> {
        self.inner.guard()
    }

    async fn prepare(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Envelope<OrderCreated>>],
    ) -> Result<Vec<Result<Self::Input, Failure>>, StoreError> {
        let prepared = self.inner.prepare(connection, batch).await;
        self.step("prepare", batch.iter().map(|event| event.order_id));
        prepared
    }

    async fn act(&self, event: &Envelope<OrderCreated>, input: Self::Input) -> Result<Self::Effect, Failure> {
        if self.step == "hang" && event.order_id == self.order {
            eprintln!("{HANGS}");
            std::future::pending::<()>().await;
        }
        let effect = self.inner.act(event, input).await;
        self.step("act", std::iter::once(event.order_id));
        effect
    }

    async fn record(
        &self,
        connection: &mut Connection,
        batch: &[Arc<Done<OrderCreated, Self::Effect>>],
    ) -> Result<Vec<NewEvent>, StoreError> {
        let follow = self.inner.record(connection, batch).await;
        self.step("record", batch.iter().map(|done| done.event.order_id));
        follow
    }
}

fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (step, order) = (variable("FAULT_STEP"), variable("FAULT_ORDER").parse().expect("an order's id"));
    let times = variable("FAULT_TIMES").parse().expect("a number");
    let charging = services::payment::handlers().on("charge", move |needed| Faulty {
        inner: ChargeOrder::new(needed.provider.clone()),
        step: step.clone(),
        order,
        times: AtomicU32::new(times),
    });
    let others = services::all().into_iter().filter(|service| service.name != "payment");
    let roster = Roster::new(others.chain([charging.done()]).collect());
    let queues = roster.subscriptions().to_vec();
    let settings = Settings::read(&Source::from_env(), &roster, queues).expect("settings");
    telemetry::init(&settings.log);
    process::run(settings).expect("it runs until it is stopped");
}
