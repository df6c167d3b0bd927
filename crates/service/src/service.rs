//! A service as a value: everything that the rest of the system has to know of it.

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
    /// An order waits for it: one of its dead letters stops an order until a person acts.
    Step,
    /// No order waits for it: its dead letters concern operators alone, never a customer.
    Side,
}

/// An event that a service takes.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    /// Which.
    pub subscription: Subscription,
    /// What the service does about it, in a word or two for the table of events: `charge`.
    pub what: &'static str,
}

/// A service. Made by [`Service::step`] or [`Service::side`].
pub struct Service {
    /// Its name: the first part of its queues' names, and the name of its schema.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// Whether orders wait for it.
    pub role: Role,
    /// Where one sees what it has applied.
    pub tracks: Tracks,
    /// What it publishes.
    pub publishes: Vec<EventName>,
    /// What it takes, in the order in which people see it.
    pub takes: Vec<Takes>,
    /// The migrations that it brings.
    pub migrations: Option<MigrationSet>,
    /// What must hold of its rows.
    pub audit: &'static [&'static Subject],
    /// A row for each table that it writes to, see [`Draft::writes`].
    pub writes: &'static [TrialRow],
    /// The settings that it alone reads.
    pub settings: &'static [&'static Setting],
    /// The settings that it reads although most workers do without them.
    pub also_reads: &'static [&'static Setting],
    read: Read,
}

/// A row with which is tried whether a table can be written to.
#[derive(Debug, Clone, Copy)]
pub struct TrialRow {
    /// The table, with its schema, as a person is told.
    pub table: &'static str,
    /// The `INSERT`, with a new id at `$1`, so that it meets no row of an order. It is rolled back, but a sequence does
    /// not take back what it gave: its numbers are to be given here.
    pub insert: &'static str,
}

/// What a service's handlers are made from: read from settings, then set up once in a worker process.
pub trait Dependencies: Sized + 'static {
    /// What was read.
    type Settings: Send + 'static;

    /// The settings that this service alone reads, in the order in which a person would set them.
    const SETTINGS: &'static [&'static Setting];

    /// The settings that it shares with front ends, and that most workers do without: deployments give them to this
    /// service too.
    const ALSO_READS: &'static [&'static Setting] = &[];

    /// Reads the settings; problems stay with `source`.
    fn read(source: &Source) -> Option<Self::Settings>;

    /// Sets up what handlers need, on the current tokio runtime. Calls nobody: a provider that is unavailable keeps no
    /// worker from starting.
    ///
    /// # Errors
    /// When a setting cannot be used; the error names it.
    fn connect(settings: Self::Settings, database: &Database) -> Result<Self, SetupError>;

    /// Returns the guards of the providers that handlers call, for the health check.
    fn guards(&self) -> Vec<Arc<CallGuard>> {
        Vec::new()
    }
}

/// Handlers that need nothing but the database connection that they are handed.
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

/// Why handlers could not be made: a setting, which the error names.
pub type SetupError = Box<dyn std::error::Error + Send + Sync>;

/// What a worker process does.
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

/// A service that does not say yet what it does about its events.
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

/// A service whose handlers are being named.
pub struct Handlers<D> {
    draft: Draft,
    takes: Vec<Takes>,
    makers: Vec<Maker<D>>,
}

type Maker<D> = Box<dyn Fn(&D) -> Consumer + Send + Sync>;

impl Service {
    /// Begins a service that orders wait for.
    #[must_use]
    pub const fn step(name: &'static str, about: &'static str) -> Draft {
        Draft::new(name, about, Role::Step)
    }

    /// Begins a service that no order waits for.
    #[must_use]
    pub const fn side(name: &'static str, about: &'static str) -> Draft {
        Draft::new(name, about, Role::Side)
    }

    /// Returns a service that runs outside these programs, as a side service without handlers; `None` where a name in
    /// its row is none, or this process has as many names as it can keep.
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

    /// Reads its settings and returns what sets it up; problems stay with `source`.
    #[must_use]
    pub fn read(&self, source: &Source) -> Option<SetUp> {
        (self.read)(source)
    }
}

impl Draft {
    const fn new(name: &'static str, about: &'static str, role: Role) -> Self {
        Self { name, about, role, publishes: &[], migrations: None, audit: &[], writes: &[] }
    }

    /// Says which events its handlers return.
    #[must_use]
    pub const fn publishes(mut self, events: &'static [EventName]) -> Self {
        self.publishes = events;
        self
    }

    /// Brings migrations, which run with its schema as the `search_path`: `|| MIGRATIONS`, where that constant is
    /// `embed_migrations!("src/services/loyalty/migrations")`.
    #[must_use]
    pub const fn migrations(mut self, migrations: fn() -> EmbeddedMigrations) -> Self {
        self.migrations = Some(MigrationSet::new(self.name, migrations));
        self
    }

    /// Says what must hold of its rows; `orderflow audit` looks.
    #[must_use]
    pub const fn audit(mut self, subjects: &'static [&'static Subject]) -> Self {
        self.audit = subjects;
        self
    }

    /// Gives a row for each table that it writes to, with which `orderflow doctor` tries whether the database takes it.
    #[must_use]
    pub const fn writes(mut self, rows: &'static [TrialRow]) -> Self {
        self.writes = rows;
        self
    }

    /// Says what its handlers are made from: `needs::<()>()` where that is nothing.
    #[must_use]
    pub const fn needs<D: Dependencies>(self) -> Handlers<D> {
        Handlers { draft: self, takes: Vec::new(), makers: Vec::new() }
    }
}

impl<D: Dependencies> Handlers<D> {
    /// Takes the events of this handler's kind. A second handler for one kind replaces the first.
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
