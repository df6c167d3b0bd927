//! A service as a value: everything that the rest of the system must know about it.

use std::{fmt, sync::Arc};

use diesel_migrations::EmbeddedMigrations;
use orderflow_events::{EventData, EventName};

use crate::{
    Subscription,
    audit::Subject,
    call_guard::CallGuard,
    config::{Setting, Source},
    consumers::Consumer,
    handler::Handler,
    interned::interned,
    store::{
        Database,
        migrations::MigrationSet,
        registered::{RegisteredService, Tracks},
    },
};

/// Whether orders wait for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Orders wait for it: each of its dead letters stops an order until an operator acts.
    Step,
    /// No order waits for it: its dead letters concern operators only, never a customer.
    Side,
}

/// An event type that a service consumes.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    /// The subscription.
    pub subscription: Subscription,
    /// What the service does with the event, in a word or two for the table of events, such as `charge`.
    pub what: &'static str,
}

/// A service. Create one with [`Service::step`] or [`Service::side`].
pub struct Service {
    /// The name. It is the first part of the queues' names, and the name of the schema.
    pub name: &'static str,
    /// What the service does, in one sentence.
    pub about: &'static str,
    /// Whether orders wait for it.
    pub role: Role,
    /// Where the service records which events it has applied.
    pub tracks: Tracks,
    /// The event types that it publishes.
    pub publishes: Vec<EventName>,
    /// The event types that it consumes, in display order.
    pub takes: Vec<Takes>,
    /// Its migrations.
    pub migrations: Option<MigrationSet>,
    /// The invariants of its rows.
    pub audit: &'static [&'static Subject],
    /// A trial row for each table that it writes to; see [`Draft::writes`].
    pub writes: &'static [TrialRow],
    /// The settings that only it reads.
    pub settings: &'static [&'static Setting],
    /// The settings that it reads and that most workers do not need.
    pub also_reads: &'static [&'static Setting],
    read: Read,
}

/// A row that tests whether a table can be written to.
#[derive(Debug, Clone, Copy)]
pub struct TrialRow {
    /// The table with its schema, as shown to operators.
    pub table: &'static str,
    /// The `INSERT`. `$1` is a new id, so that the row conflicts with no order's. The statement is rolled back, but
    /// sequences are not: give values for columns that would use one.
    pub insert: &'static str,
}

/// The dependencies of a service's handlers: read from settings, then set up once per worker process.
pub trait Dependencies: Sized + 'static {
    /// The settings that were read.
    type Settings: Send + 'static;

    /// The settings that only this service reads, in the order in which an operator would set them.
    const SETTINGS: &'static [&'static Setting];

    /// The settings that it shares with front ends and that most workers do not need. Deployments pass them to this
    /// service too.
    const ALSO_READS: &'static [&'static Setting] = &[];

    /// Reads the settings. Collects problems in `source`.
    fn read(source: &Source) -> Option<Self::Settings>;

    /// Sets up what the handlers need, on the current tokio runtime. It must not call a provider: a worker must start
    /// even if its provider is unavailable.
    ///
    /// # Errors
    /// Fails if a setting cannot be used; the error names it.
    fn connect(settings: Self::Settings, database: &Database) -> Result<Self, SetupError>;

    /// Returns the guards of the providers that handlers call, for the health check.
    fn guards(&self) -> Vec<Arc<CallGuard>> {
        Vec::new()
    }
}

/// For handlers that need only the database connection that they are passed.
impl Dependencies for () {
    type Settings = ();

    const SETTINGS: &'static [&'static Setting] = &[];

    fn read(_: &Source) -> Option<()> {
        Some(())
    }

    fn connect((): (), _: &Database) -> Result<Self, SetupError> {
        Ok(())
    }
}

/// Why handlers could not be created: an unusable setting, which the error names.
pub type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// The work of a worker process.
#[derive(Debug, Default)]
pub struct Work {
    /// A consumer for each queue.
    pub consumers: Vec<Consumer>,
    /// The guards of the providers that their handlers call.
    pub guards: Vec<Arc<CallGuard>>,
}

/// Sets a service up and returns its consumers of the chosen queues.
pub type SetUp = Box<dyn FnOnce(&Database, &[Subscription]) -> Result<Work, SetupError> + Send>;

type Read = Box<dyn Fn(&Source) -> Option<SetUp> + Send + Sync>;

/// A service without handlers so far.
#[derive(Debug)]
pub struct Draft {
    name: &'static str,
    about: &'static str,
    role: Role,
    publishes: &'static [EventName],
    migrations: Option<MigrationSet>,
    audit: &'static [&'static Subject],
    writes: &'static [TrialRow],
}

/// A service whose handlers are being added.
pub struct Handlers<D> {
    draft: Draft,
    takes: Vec<Takes>,
    makers: Vec<Maker<D>>,
}

type Maker<D> = Box<dyn Fn(&D) -> Consumer + Send + Sync>;

impl Service {
    /// Starts defining a service that orders wait for.
    #[must_use]
    pub const fn step(name: &'static str, about: &'static str) -> Draft {
        Draft::new(name, about, Role::Step)
    }

    /// Starts defining a service that no order waits for.
    #[must_use]
    pub const fn side(name: &'static str, about: &'static str) -> Draft {
        Draft::new(name, about, Role::Side)
    }

    /// Returns a service that runs outside these programs, as a side service without handlers. Returns `None` if a name
    /// in its row is invalid, or if this process cannot keep more names.
    #[must_use]
    pub fn registered(row: &RegisteredService) -> Option<Self> {
        let name = interned(&row.name)?;
        let events = |names: &[String]| -> Option<Vec<EventName>> {
            names.iter().map(|event| EventName::parse(interned(event)?)).collect()
        };
        let takes = events(&row.takes)?.into_iter();
        Some(Self {
            name,
            about: "Runs outside these programs.",
            role: Role::Side,
            tracks: row.tracks,
            publishes: events(&row.publishes)?,
            takes: takes.map(|event| Takes { subscription: Subscription::to(name, event), what: "takes it" }).collect(),
            migrations: None,
            audit: &[],
            writes: &[],
            settings: &[],
            also_reads: &[],
            read: Box::new(|_| None),
        })
    }

    /// Reads the service's settings and returns the function that sets it up. Collects problems in `source`.
    #[must_use]
    pub fn read(&self, source: &Source) -> Option<SetUp> {
        (self.read)(source)
    }
}

impl Draft {
    const fn new(name: &'static str, about: &'static str, role: Role) -> Self {
        Self { name, about, role, publishes: &[], migrations: None, audit: &[], writes: &[] }
    }

    /// Declares the event types that the handlers return.
    #[must_use]
    pub const fn publishes(mut self, events: &'static [EventName]) -> Self {
        self.publishes = events;
        self
    }

    /// Adds migrations, which run with the service's schema as the `search_path`. Pass `|| MIGRATIONS`, where that
    /// constant is `embed_migrations!("src/services/loyalty/migrations")`.
    #[must_use]
    pub const fn migrations(mut self, migrations: fn() -> EmbeddedMigrations) -> Self {
        self.migrations = Some(MigrationSet::new(self.name, migrations));
        self
    }

    /// Declares the invariants of the service's rows, which `orderflow audit` checks.
    #[must_use]
    pub const fn audit(mut self, subjects: &'static [&'static Subject]) -> Self {
        self.audit = subjects;
        self
    }

    /// Declares a row for each table that the service writes to. `orderflow doctor` inserts it to test the service's
    /// rights.
    #[must_use]
    pub const fn writes(mut self, rows: &'static [TrialRow]) -> Self {
        self.writes = rows;
        self
    }

    /// Declares the handlers' dependencies: `needs::<()>()` if there are none.
    #[must_use]
    pub const fn needs<D: Dependencies>(self) -> Handlers<D> {
        Handlers { draft: self, takes: Vec::new(), makers: Vec::new() }
    }
}

impl<D: Dependencies> Handlers<D> {
    /// Adds a handler for its event type. A second handler for an event type replaces the first.
    #[must_use]
    pub fn on<H: Handler>(mut self, what: &'static str, make: impl Fn(&D) -> H + Send + Sync + 'static) -> Self {
        let subscription = Subscription::to(self.draft.name, <H::Event as EventData>::EVENT);
        let maker: Maker<D> = Box::new(move |dependencies| Consumer::new(subscription, make(dependencies)));
        let takes = Takes { subscription, what };
        match self.takes.iter().position(|one| one.subscription == subscription) {
            Some(place) => {
                self.takes.splice(place..=place, [takes]);
                self.makers.splice(place..=place, [maker]);
            }
            None => {
                self.takes.push(takes);
                self.makers.push(maker);
            }
        }
        self
    }

    /// Completes the service.
    #[must_use]
    pub fn done(self) -> Service {
        let Draft { name, about, role, publishes, migrations, audit, writes } = self.draft;
        let takes = self.takes.clone();
        let makers: Arc<[_]> = self.takes.iter().map(|one| one.subscription).zip(self.makers).collect();
        let read: Read = Box::new(move |source| {
            let settings = D::read(source)?;
            let makers: Arc<[(Subscription, Maker<D>)]> = Arc::clone(&makers);
            let set_up: SetUp = Box::new(move |database, chosen| {
                let dependencies = D::connect(settings, database)?;
                let chosen = makers.iter().filter(|(subscription, _)| chosen.contains(subscription));
                let consumers = chosen.map(|(_, make)| make(&dependencies)).collect();
                Ok(Work { consumers, guards: dependencies.guards() })
            });
            Some(set_up)
        });
        Service {
            name,
            about,
            role,
            tracks: Tracks::Inbox,
            publishes: publishes.to_vec(),
            takes,
            migrations,
            audit,
            writes,
            settings: D::SETTINGS,
            also_reads: D::ALSO_READS,
            read,
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).field("takes", &self.takes).finish_non_exhaustive()
    }
}

impl<D> fmt::Debug for Handlers<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("of", &self.draft).field("takes", &self.takes).finish_non_exhaustive()
    }
}
