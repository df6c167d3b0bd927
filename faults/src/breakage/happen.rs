//! How each kind of fault is caused and repaired.

use std::time::Duration;

use nix::sys::signal::Signal;
use orderflow_service::{
    Subscription,
    broker::{
        headers::{self, QUEUE},
        names,
    },
};
use orderflow_tests::{Way, examples::FRAUD_CHECK, own::Own, queues, sample};
use reqwest::Method;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Aftermath, Fault, Kind, absence::Absence};
use crate::{
    component::Component,
    ledger::Ledger,
    mail,
    program::{self, Program},
    world::World,
};

/// The share of provider calls, or of mails, that a fault affects.
const SHARE: f64 = 0.5;

/// The time that a process needs to start; a false clock must last longer to have any effect.
const STARTED: Duration = Duration::from_secs(4);

/// How long a queue may take to come online after RabbitMQ's start. In the runs of docs/FAULTS.md orders settled again
/// at most 29 s after it.
const ONLINE_WITHIN: Duration = Duration::from_secs(30);

/// How often to check whether queues are online.
const LOOK: Duration = Duration::from_millis(500);

impl Fault {
    /// Returns a display name of its target, where there are several possible ones.
    pub fn target<'w>(&self, world: &'w World) -> &'w str {
        match self.kind {
            Kind::Kill | Kind::Stop | Kind::Freeze | Kind::Crash | Kind::ClockAhead | Kind::ClockBehind => {
                self.program(world).name()
            }
            Kind::OnlyWorkerAway => Absence::of_worker(world, self.which).component().account(),
            Kind::Cut | Kind::StallRequests | Kind::StallAnswers | Kind::Reset | Kind::HalfOpen | Kind::Latency => {
                &world.wires[self.which % world.wires.len()].name
            }
            Kind::DatabaseLock => self.table,
            _ => "",
        }
    }

    /// Causes the fault, waits as long as it lasts, and repairs it.
    pub async fn happen(&self, own: &mut Own, world: &mut World) -> Aftermath {
        let mut aftermath = Aftermath::default();
        match self.kind {
            Kind::Stop => {
                aftermath.violations.extend(self.program(world).end().await.err());
            }
            Kind::OnlyWorkerAway => {
                aftermath.violations = Absence::of_worker(world, self.which).happen(self.lasts).await;
            }
            Kind::OnlyFrontEndAway => {
                aftermath.violations = Absence::of_front_ends(world, self.which).happen(self.lasts).await;
            }
            Kind::Kill | Kind::Freeze | Kind::Crash | Kind::ClockAhead | Kind::ClockBehind => self.process(world).await,
            Kind::BrokerClose | Kind::BrokerAlarm => self.broker(own).await,
            // RabbitMQ 3.10.8 discovers at startup that it cannot read a queue, even long after its disk was full.
            Kind::BrokerStop | Kind::BrokerKill | Kind::BrokerSwamped | Kind::BrokerDiskFull => {
                self.broker(own).await;
                recreate_unreadable(world).await;
            }
            Kind::DatabaseStop | Kind::DatabaseKill | Kind::DatabaseTerminate | Kind::DatabaseDiskFull => {
                self.database(own).await;
            }
            Kind::DatabaseLock => self.lock(world).await,
            Kind::Cut | Kind::StallRequests | Kind::StallAnswers | Kind::Reset | Kind::HalfOpen | Kind::Latency => {
                self.wire(world).await;
            }
            Kind::ProviderKill => {
                world.provider.kill().await;
                sleep(self.lasts).await;
                world.provider.restart().await;
            }
            Kind::ProviderError => self.provider(world, "error_before").await,
            Kind::ProviderErrorAfter => self.provider(world, "error_after").await,
            Kind::ProviderHang => self.provider(world, "hang_before").await,
            Kind::ProviderHangAfter => self.provider(world, "hang_after").await,
            Kind::ProviderLimit => self.provider(world, "rate_limited").await,
            Kind::ProviderGarbage => self.provider(world, "garbage").await,
            Kind::MailKill => {
                world.mail.kill().await;
                sleep(self.lasts).await;
                world.mail.restart().await;
            }
            Kind::MailRefuse => self.mail(world, mail::Mode::Refuse).await,
            Kind::MailGreylist => self.mail(world, mail::Mode::Greylist).await,
            Kind::MailHang => self.mail(world, mail::Mode::HangBefore).await,
            Kind::MailHangAfter => self.mail(world, mail::Mode::HangAfter).await,
            Kind::MailErrorAfter => self.mail(world, mail::Mode::ErrorAfter).await,
            Kind::QueueDelete => self.delete_queue(world).await,
            Kind::Duplicate => duplicate(world).await,
            Kind::Reorder => self.reorder(world).await,
            Kind::Garbage => aftermath.garbage = self.garbage(world).await,
            Kind::Forgery => aftermath.garbage = forge(world).await,
        }
        aftermath
    }

    /// Returns the process of ours that it strikes: one that reaches the planned crash point.
    fn program<'w>(&self, world: &'w World) -> &'w Program {
        let strikes = |component: Component| {
            let reaches = self.crash.is_none_or(|(point, _)| component.reaches(point, &world.roster));
            reaches && (component.is_service() || !self.workers)
        };
        let programs: Vec<_> = world.programs.iter().filter(|program| strikes(program.component())).collect();
        programs[self.which % programs.len()]
    }

    async fn process(&self, world: &World) {
        let program = self.program(world);
        match self.kind {
            Kind::Freeze => {
                program.signal(Signal::SIGSTOP).await;
                sleep(self.lasts).await;
                program.signal(Signal::SIGCONT).await;
            }
            Kind::Crash => {
                let (point, time) = self.crash.expect("a crash has its point");
                program.restart(program::Restart::Crash(point, time)).await;
                sleep(self.lasts).await;
            }
            Kind::ClockAhead | Kind::ClockBehind => {
                let off = if self.kind == Kind::ClockAhead { "+1h" } else { "-1h" };
                program.restart(program::Restart::Clock(off)).await;
                sleep(STARTED + self.lasts).await;
                program.restart(program::Restart::Plain).await;
            }
            _ => program.signal(Signal::SIGKILL).await,
        }
    }

    async fn broker(&self, own: &mut Own) {
        let node = own.rabbitmq.node(self.which);
        let out_of_memory = ["set_vm_memory_high_watermark", "absolute", "1MB"];
        match self.kind {
            Kind::BrokerStop => {
                node.stop().await;
                sleep(self.lasts).await;
                node.start().await;
            }
            Kind::BrokerClose => node.control(&["close_all_connections", "a fault run"]).await,
            Kind::BrokerAlarm => {
                node.control(&out_of_memory).await;
                sleep(self.lasts).await;
                node.control(&["set_vm_memory_high_watermark", "0.4"]).await;
            }
            Kind::BrokerSwamped => {
                node.control(&out_of_memory).await;
                sleep(self.lasts).await;
                node.kill().await;
                // The restarted node has the configured memory limit again.
                node.start().await;
            }
            Kind::BrokerDiskFull => {
                own.broker_disk().fill().await;
                sleep(self.lasts).await;
                own.broker_disk().free().await;
                // A node that could not write its log no longer trusts its memory: operators restart it.
                for node in own.rabbitmq.nodes() {
                    node.kill().await;
                }
                own.rabbitmq.start().await;
            }
            _ => {
                node.kill().await;
                sleep(self.lasts).await;
                node.start().await;
            }
        }
    }

    async fn database(&self, own: &mut Own) {
        match self.kind {
            Kind::DatabaseStop => own.postgres.stop_immediately().await,
            Kind::DatabaseKill => own.postgres.kill().await,
            Kind::DatabaseDiskFull => own.database_disk().fill().await,
            _ => {
                let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
                return own.postgres.as_superuser(all).await;
            }
        }
        sleep(self.lasts).await;
        if self.kind == Kind::DatabaseDiskFull {
            own.database_disk().free().await;
        }
        // A server that could not write its log has shut down; one that could is still running.
        own.postgres.start().await;
    }

    async fn lock(&self, world: &World) {
        let table = self.table;
        world
            .shop
            .execute(&format!(
                "DO $$ BEGIN LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep({}); END $$",
                self.lasts.as_secs_f64()
            ))
            .await;
    }

    async fn wire(&self, world: &World) {
        let wire = &world.wires[self.which % world.wires.len()].proxy;
        match self.kind {
            Kind::Cut => wire.cut().await,
            Kind::StallRequests => wire.stall(Way::ToServer),
            Kind::StallAnswers => wire.stall(Way::ToClient),
            Kind::Reset => return wire.reset(),
            Kind::HalfOpen => return wire.half_open(),
            _ => wire.slow_down(self.lasts / 10),
        }
        sleep(self.lasts).await;
        match self.kind {
            Kind::Cut => wire.mend().await,
            Kind::Latency => wire.slow_down(Duration::ZERO),
            _ => wire.flow(),
        }
    }

    async fn provider(&self, world: &World, mode: &str) {
        world.provider.fail(mode, SHARE).await;
        sleep(self.lasts).await;
        world.provider.fail("none", 0.0).await;
    }

    async fn mail(&self, world: &World, mode: mail::Mode) {
        world.mail.fail(mode, SHARE).await;
        sleep(self.lasts).await;
        world.mail.fail(mail::Mode::None, 0.0).await;
    }

    /// Returns the work queue that it strikes, of one of these subscriptions.
    fn queue(&self, of: &[Subscription]) -> String {
        of[self.which % of.len()].queue()
    }

    async fn delete_queue(&self, world: &World) {
        // Not a queue of the Python service: it has no reconciler, so nothing republishes its lost events.
        let ours: Vec<_> =
            world.roster.subscriptions().iter().copied().filter(|one| one.service() != FRAUD_CHECK.name).collect();
        let queue = self.queue(&ours);
        world.shop.probe().await.delete_queue(&queue).await;
        sleep(self.lasts.min(Duration::from_secs(1))).await;
        world.operate(&["topology", "apply"]).await;
        return_unrouted(world).await;
    }

    /// Reverses the queues while the workers are disconnected, so that messages accumulate.
    async fn reorder(&self, world: &World) {
        for wire in world.broker_wires(Component::is_service) {
            wire.proxy.cut().await;
        }
        sleep(self.lasts).await;
        let probe = world.shop.probe().await;
        for subscription in world.roster.subscriptions() {
            let queue = subscription.queue();
            for delivery in probe.take_all(&queue).await.into_iter().rev() {
                probe.publish_with(names::RETURN, &queue, &delivery.data, delivery.properties).await;
            }
        }
        for wire in world.broker_wires(Component::is_service) {
            wire.proxy.mend().await;
        }
    }

    async fn garbage(&self, world: &World) -> u32 {
        let queue = self.queue(world.roster.subscriptions());
        let probe = world.shop.probe().await;
        let bodies: [&[u8]; 3] = [b"", b"{\"specversion\":", b"\xff\xfe\x00 not an event"];
        for body in bodies {
            probe.publish(names::RETURN, &queue, body).await;
        }
        u32::try_from(bodies.len()).expect("a few")
    }
}

/// Deletes the work queues and retry queues that RabbitMQ can no longer read and creates them again, as docs/RUNBOOK.md
/// says. Leaves dead-letter queues as they are, because the run counts what is in them.
async fn recreate_unreadable(world: &mut World) {
    // After a start queues come online one after the other.
    let deadline = Instant::now() + ONLINE_WITHIN;
    let mut unreadable = offline(world).await;
    while !unreadable.is_empty() && Instant::now() < deadline {
        sleep(LOOK).await;
        unreadable = offline(world).await;
    }
    for queue in &unreadable {
        println!("{queue} is unreadable: deleting and creating it again");
        world.shop.manage(Method::DELETE, &format!("queues/{{vhost}}/{queue}")).await;
    }
    let of_python = |queue: &&String| queue.split('.').next() == Some(FRAUD_CHECK.name);
    world.to_republish.extend(unreadable.iter().filter(of_python).cloned());
    if !unreadable.is_empty() {
        // Just after startup RabbitMQ 3.10.8 may still refuse queues: 400, "noproc" of rabbit_fifo_dlx_sup.
        world.operate_while_starting(&["topology", "apply"]).await;
    }
}

/// Returns the work queues and retry queues that are online on no node.
async fn offline(world: &World) -> Vec<String> {
    // Without statistics: those of RabbitMQ 3.10 repeat what was online minutes ago.
    let queues = world.shop.manage(Method::GET, "queues/{vhost}?disable_stats=true&columns=name,online").await;
    let queues = queues.as_array().expect("a list").iter();
    let offline = queues.filter(|queue| queue["online"].as_array().is_some_and(Vec::is_empty));
    let names = offline.filter_map(|queue| queue["name"].as_str());
    names.filter(|name| !name.ends_with(names::DEAD_LETTER_SUFFIX)).map(str::to_owned).collect()
}

/// Publishes forged payments of some declined orders and forged releases of some shipped ones, directly to the queues
/// that would consume them. Returns their number: each ends as a dead letter.
async fn forge(world: &World) -> u32 {
    let mut ledger = Ledger::open(&world.shop).await;
    let probe = world.shop.probe().await;
    let mut forged = 0;
    for (status, subscription) in
        [("payment_failed", queues::INVENTORY_PAYMENT_COMPLETED), ("shipped", queues::PAYMENT_INVENTORY_RELEASED)]
    {
        for order in ledger.recent_orders(status, 5).await {
            let event = sample(subscription.event(), Uuid::now_v7(), order).to_string();
            probe.publish(names::RETURN, &subscription.queue(), event.as_bytes()).await;
            forged += 1;
        }
    }
    forged
}

/// Republishes recent events, applied or not, newest first.
async fn duplicate(world: &World) {
    let events = Ledger::open(&world.shop).await.recent_events(50).await;
    let probe = world.shop.probe().await;
    for (routing_key, body) in events {
        probe.publish(names::EVENTS, &routing_key, body.as_bytes()).await;
    }
}

/// Clears `orders.unrouted` as docs/RUNBOOK.md says: messages that returned for the missing queue are moved there. The
/// rest are copies of events in the log, from which the reconciler republishes missing ones. An event with a single
/// consuming queue, such as `payment.voided`, ends here when it is published while that queue is missing.
async fn return_unrouted(world: &World) {
    let probe = world.shop.probe().await;
    for delivery in probe.take_all(names::UNROUTED).await {
        let queue = delivery.properties.headers().as_ref().and_then(|table| headers::text(table, QUEUE));
        if let Some(queue) = queue {
            probe.publish_with(names::RETURN, &queue, &delivery.data, delivery.properties).await;
        }
    }
}
