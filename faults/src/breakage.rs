//! Everything that a run can break, and how each is mended.

use std::time::Duration;

use clap::ValueEnum as _;
use nix::sys::signal::Signal;
use orderflow::{broker::Subscription, fault::CrashPoint};
use orderflow_tests::Way;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::time::sleep;

use crate::{ledger::Ledger, servers::Own, world::World};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// A process of ours is killed.
    Kill,
    /// A process of ours stands still for a while, with all its connections.
    Freeze,
    /// A process of ours dies at a named place.
    Crash,
    /// RabbitMQ is stopped as an operator would.
    BrokerStop,
    /// RabbitMQ is killed.
    BrokerKill,
    /// An operator closes every connection to RabbitMQ.
    BrokerClose,
    /// RabbitMQ is out of memory: it takes no messages.
    BrokerAlarm,
    /// RabbitMQ is out of memory and then killed, with all that was sent to it and that it had not taken.
    BrokerSwamped,
    /// A work queue is deleted with all that is in it, and made again by `orderflow topology apply`.
    QueueDelete,
    /// PostgreSQL is stopped by `-m immediate`.
    DatabaseStop,
    /// PostgreSQL is killed.
    DatabaseKill,
    /// Every connection to PostgreSQL is ended by an operator.
    DatabaseTerminate,
    /// A table that every step writes is locked.
    DatabaseLock,
    /// A wire is cut.
    Cut,
    /// A wire takes everything and carries nothing to the server.
    StallRequests,
    /// A wire carries everything to the server and nothing back.
    StallAnswers,
    /// The payment provider is killed.
    ProviderKill,
    /// The payment provider answers 500 to half of what it is asked, having done nothing.
    ProviderError,
    /// The payment provider does half of what it is asked, and answers 500.
    ProviderErrorAfter,
    /// The payment provider takes half of what it is asked, and neither does it nor answers.
    ProviderHang,
    /// The payment provider does half of what it is asked, and does not answer.
    ProviderHangAfter,
    /// The payment provider answers 429 to half of what it is asked.
    ProviderLimit,
    /// The payment provider does half of what it is asked, and answers nonsense.
    ProviderGarbage,
    /// Events are delivered a second time, late and in another order.
    Duplicate,
    /// Messages arrive that are no events.
    Garbage,
}

/// Where faults strike that could strike at many places.
#[derive(Debug, Clone, Copy)]
pub struct Focus {
    /// Where processes crash.
    pub points: &'static [CrashPoint],
    /// What is locked.
    pub tables: &'static [&'static str],
}

impl Default for Focus {
    fn default() -> Self {
        let tables =
            &["messaging.inbox", "messaging.outbox", "messaging.event_log", "inventory.stock", "orders.orders"];
        Self { points: CrashPoint::ALL, tables }
    }
}

/// One fault, at its place in the schedule.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Which of those that there are.
    pub which: usize,
    /// Where a crash happens, and at which time.
    pub crash: (CrashPoint, u32),
    /// Which table is locked.
    pub table: &'static str,
    /// How long it lasts.
    pub lasts: Duration,
    /// How long everything works before it.
    pub before: Duration,
}

impl Fault {
    /// The next one of this kind, drawn from the run's seed.
    pub fn draw(kind: Kind, focus: &Focus, random: &mut StdRng) -> Self {
        Self {
            kind,
            which: random.random_range(0..1_000),
            crash: (*focus.points.choose(random).expect("there are some"), random.random_range(1..40)),
            table: focus.tables.choose(random).expect("there are some"),
            lasts: Duration::from_millis(random.random_range(300..6_000)),
            before: Duration::from_millis(random.random_range(500..3_000)),
        }
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        let value = self.kind.to_possible_value().expect("every kind has a name");
        if self.kind == Kind::Crash { format!("crash-{}", self.crash.0.as_str()) } else { value.get_name().to_owned() }
    }

    /// Breaks it, waits as long as it lasts, and mends it. Returns how many messages were put in that belong to no order.
    pub async fn happen(&self, own: &mut Own, world: &mut World) -> u32 {
        let program = &world.programs[self.which % world.programs.len()];
        let wire = &world.wires[self.which % world.wires.len()];
        match self.kind {
            Kind::Kill => program.signal(Signal::SIGKILL).await,
            Kind::Freeze => {
                program.signal(Signal::SIGSTOP).await;
                sleep(self.lasts).await;
                program.signal(Signal::SIGCONT).await;
            }
            Kind::Crash => {
                program.arm(self.crash.0, self.crash.1).await;
                sleep(self.lasts).await;
            }
            Kind::BrokerStop | Kind::BrokerKill => {
                if self.kind == Kind::BrokerStop {
                    own.rabbitmq.stop().await
                } else {
                    own.rabbitmq.kill().await
                }
                sleep(self.lasts).await;
                own.rabbitmq.start().await;
            }
            Kind::BrokerClose => own.rabbitmq.control(&["close_all_connections", "a fault run"]).await,
            Kind::BrokerAlarm => {
                own.rabbitmq.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await;
                sleep(self.lasts).await;
                own.rabbitmq.control(&["set_vm_memory_high_watermark", "0.4"]).await;
            }
            Kind::BrokerSwamped => {
                own.rabbitmq.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await;
                sleep(self.lasts).await;
                own.rabbitmq.kill().await;
                // It starts with the limit of its configuration.
                own.rabbitmq.start().await;
            }
            Kind::QueueDelete => {
                let queue = Subscription::ALL[self.which % Subscription::ALL.len()].queue();
                world.shop.probe().await.delete_queue(&queue).await;
                sleep(self.lasts.min(Duration::from_secs(1))).await;
                world.operate(&["topology", "apply"]).await;
            }
            Kind::DatabaseStop | Kind::DatabaseKill => {
                if self.kind == Kind::DatabaseStop {
                    own.postgres.stop_immediately().await;
                } else {
                    own.postgres.kill().await;
                }
                sleep(self.lasts).await;
                own.postgres.start().await;
            }
            Kind::DatabaseTerminate => {
                let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orderflow'";
                own.postgres.as_superuser(all).await;
            }
            Kind::DatabaseLock => self.lock(world).await,
            Kind::Cut => {
                wire.cut().await;
                sleep(self.lasts).await;
                wire.mend().await;
            }
            Kind::StallRequests | Kind::StallAnswers => {
                wire.stall(if self.kind == Kind::StallRequests { Way::ToServer } else { Way::ToClient });
                sleep(self.lasts).await;
                wire.flow();
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
            Kind::Duplicate => self.duplicate(world).await,
            Kind::Garbage => return self.garbage(world).await,
        }
        0
    }

    async fn provider(&self, world: &World, mode: &str) {
        world.provider.fail(mode, 0.5).await;
        sleep(self.lasts).await;
        world.provider.fail("none", 0.0).await;
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

    /// What was applied already, and what is about to be, once more and the newest first.
    async fn duplicate(&self, world: &World) {
        let events = Ledger::open(&world.shop).await.recent_events(50).await;
        let probe = world.shop.probe().await;
        for (routing_key, body) in events {
            probe.publish(orderflow::broker::names::EVENTS, &routing_key, body.as_bytes()).await;
        }
    }

    async fn garbage(&self, world: &World) -> u32 {
        let queue = Subscription::ALL[self.which % Subscription::ALL.len()].queue();
        let probe = world.shop.probe().await;
        let bodies: [&[u8]; 3] = [b"", b"{\"specversion\":", b"\xff\xfe\x00 no event"];
        for body in bodies {
            probe.publish(orderflow::broker::names::RETURN, &queue, body).await;
        }
        u32::try_from(bodies.len()).expect("a few")
    }
}
