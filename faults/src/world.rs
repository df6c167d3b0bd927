//! The parts of a run: servers, the connections to them, and our processes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use orderflow_service::{Roster, fault::Safeguard, store::registered};
use orderflow_tests::{
    Proxy, Shop, Stripe, Web,
    own::{Own, free_address},
    program_path, run, until_within,
};
use orderflow_worker::roster;
use tempfile::TempDir;
use url::Url;

use crate::{
    component::Component, credentials::Credentials, customers::SCARCE, examples, mail::MailServer, program::Program,
};

/// Long enough in total for every outage of a run, and short enough at first to exercise many retries.
const RETRY_DELAYS: &str = "1s,2s,5s,10s,20s,40s";

/// How long after its start RabbitMQ may refuse queues.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Creates a table that only fault runs have, see `ORDERFLOW_NOTE_APPLIED`. Every role inserts into it, in the
/// transaction that applies the event.
const APPLIED: [&str; 4] = [
    "CREATE SCHEMA faults",
    "CREATE TABLE faults.applied (event_id uuid NOT NULL, subscription text NOT NULL, recognised boolean NOT NULL)",
    "GRANT USAGE ON SCHEMA faults TO PUBLIC",
    "GRANT INSERT ON faults.applied TO PUBLIC",
];

/// How a world is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// The safeguard left out.
    pub without: Option<Safeguard>,
    /// Whether the reconciler runs early. If no queue is deleted, nothing may depend on it.
    pub reconcile: bool,
    /// The stock of the scarce product.
    pub scarce: u32,
    /// The number of waiting orders beyond which new ones are refused, if not the default.
    pub admission: Option<u32>,
    /// Whether the services in examples/ run too.
    pub examples: bool,
}

/// A connection through a proxy, and what it connects.
pub struct Wire {
    /// Its display name.
    pub name: String,
    /// The proxy, which faults can break.
    pub proxy: Proxy,
    /// The component whose connection to the broker it is, if it is one.
    to_broker_of: Option<Component>,
}

/// A shop with servers, connections and processes that can be broken.
pub struct World {
    /// Database and virtual host.
    pub shop: Shop,
    /// The payment provider, a separate process with its own ledger.
    pub provider: Stripe,
    /// The mail server, likewise.
    pub mail: MailServer,
    /// All connections: customers' to the front ends, and our processes' to database, broker, provider and mail server.
    pub wires: Vec<Wire>,
    /// The front ends, the workers of each service, and then the services in examples/.
    pub programs: Vec<Program>,
    /// The front ends, as customers see them.
    pub webs: Vec<Web>,
    /// The running services.
    pub roster: Roster,
    /// Whether the services in examples/ are among them.
    pub examples: bool,
    /// Queues of the Python service that were deleted and created again. It has no reconciler, so an operator republishes
    /// their events.
    pub to_republish: BTreeSet<String>,
    /// The credentials of our processes.
    pub credentials: Credentials,
    setup: Setup,
    /// RabbitMQ's nodes.
    nodes: Vec<Url>,
    logs: TempDir,
}

impl World {
    /// Creates a shop on these servers and starts its processes.
    pub async fn open(own: &Own, setup: Setup, kept: Option<&Path>) -> Self {
        let shop = Shop::open_on(own.servers(), RETRY_DELAYS).await;
        if let Some(kept) = kept {
            std::fs::create_dir_all(kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
        }
        let mut logs = tempfile::Builder::new();
        logs.prefix("orderflow-logs-").disable_cleanup(kept.is_some());
        let logs = logs.tempdir_in(kept.unwrap_or(&std::env::temp_dir())).expect("a directory");
        for statement in APPLIED {
            shop.execute(statement).await;
        }
        if setup.without == Some(Safeguard::StockLock) {
            // The check constraint would still prevent overselling without the lock.
            shop.execute("ALTER TABLE inventory.stock DROP CONSTRAINT IF EXISTS stock_available_check").await;
        }
        let (provider, mail) = (Stripe::start().await, MailServer::start().await);
        let mut world = Self {
            credentials: Credentials::make(&shop, roster()).await,
            to_republish: BTreeSet::new(),
            shop,
            provider,
            mail,
            wires: Vec::new(),
            programs: Vec::new(),
            webs: Vec::new(),
            roster: roster().clone(),
            examples: setup.examples,
            setup,
            nodes: own.rabbitmq.urls(),
            logs,
        };
        world.operate(&["stock", "set", SCARCE, &setup.scarce.to_string()]).await;
        world.start_front_ends().await;
        for service in roster().names() {
            world.start_workers(service).await;
        }
        if setup.examples {
            examples::start(&mut world, own).await;
        }
        world
    }

    async fn start_front_ends(&mut self) {
        let settings = self.settings(Component::FrontEnd).await;
        for number in 1..=Component::FrontEnd.processes() {
            let address = free_address();
            let wire = Proxy::to(&format!("http://{address}").parse().expect("a URL")).await;
            self.webs.push(Web::new(wire.address()));
            self.add("customers to a front end", wire, None);
            let mut settings = settings.clone();
            settings.push(("LISTEN".to_owned(), address.to_string()));
            let program = program_path("orderflow");
            self.keep(&format!("orderflow-{number}"), Component::FrontEnd, program, &["serve"], settings);
        }
    }

    async fn start_workers(&mut self, service: &'static str) {
        let component = Component::Service(service);
        let mut settings = self.settings(component).await;
        settings.extend(self.provider_of(service).await);
        let queues = format!("{service}.*");
        for number in 1..=component.processes() {
            let program = program_path("orderflow-worker");
            self.keep(&format!("{service}-{number}"), component, program, &["--queue", &queues], settings.clone());
        }
    }

    /// Returns the settings of the provider that only this service calls, through a separate proxy.
    async fn provider_of(&mut self, service: &str) -> Vec<(String, String)> {
        let (mut settings, name, url) = match service {
            "payment" => {
                let base = self.provider.base().parse().expect("a URL");
                (self.provider.settings(), "STRIPE_API_BASE", base)
            }
            "email" => (vec![("MAIL".to_owned(), "smtp".to_owned())], "SMTP_URL", self.mail.url()),
            _ => return Vec::new(),
        };
        let wire = Proxy::to(&url).await;
        // A base URL has no trailing slash.
        settings.push((name.to_owned(), wire.through(&url).as_str().trim_end_matches('/').to_owned()));
        self.add(&format!("{service} to {name}"), wire, None);
        settings
    }

    /// Returns the settings of a component's processes, and creates their proxies to database and broker.
    pub async fn settings(&mut self, component: Component) -> Vec<(String, String)> {
        let database = self.credentials.database(&self.shop, component);
        let broker = self.credentials.broker(&self.shop, component);
        self.settings_with(component, &database, &broker).await
    }

    /// Like [`World::settings`], for processes that use these URLs.
    pub async fn settings_with(&mut self, component: Component, database: &Url, broker: &Url) -> Vec<(String, String)> {
        let to_database = Proxy::to(database).await;
        let through = to_database.through(database).to_string();
        self.add(&format!("{component} to the database"), to_database, None);
        let mut nodes = Vec::new();
        for node in self.nodes.clone() {
            let mut url = broker.clone();
            url.set_port(node.port()).expect("the URL has a host");
            let wire = Proxy::to(&url).await;
            nodes.push(wire.through(&url).to_string());
            self.add(&format!("{component} to the broker"), wire, Some(component));
        }
        let own = [
            ("DATABASE_URL", through),
            ("AMQP_URL", nodes.join(",")),
            ("RUST_LOG", "info,lapin=error".to_owned()),
            // Short enough that a hanging provider is detected, and its breaker opens, within a run.
            ("PAYMENT_TIMEOUT", "3s".to_owned()),
            ("RECONCILE_AFTER", if self.setup.reconcile { "15s" } else { "1h" }.to_owned()),
            ("ORDERFLOW_NOTE_APPLIED", "1".to_owned()),
            ("ORDERFLOW_WITHOUT", self.setup.without.map_or("", Safeguard::as_str).to_owned()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let admission = self.setup.admission.map(|rows| ("ADMISSION_MAX_OUTBOX_ROWS".to_owned(), rows.to_string()));
        self.shop.settings("orderflow-worker").into_iter().chain(own).chain(admission).collect()
    }

    fn add(&mut self, name: &str, proxy: Proxy, to_broker_of: Option<Component>) {
        self.wires.push(Wire { name: name.to_owned(), proxy, to_broker_of });
    }

    /// Keeps a program running until the end of the run.
    pub fn keep(
        &mut self,
        name: &str,
        component: Component,
        program: PathBuf,
        arguments: &[&str],
        settings: Vec<(String, String)>,
    ) {
        let log = self.logs.path().join(format!("{name}.log"));
        self.programs.push(Program::keep(name, component, program, arguments, settings, log));
    }

    /// Reads the registered services, which belong to the run from now on.
    pub async fn read_registered(&mut self) {
        let registered = registered::list(&mut self.shop.database().await).await;
        self.roster = self.roster.with(&registered.expect("the services can be read"));
    }

    /// Returns the programs of a component.
    pub fn programs_of(&self, component: Component) -> Vec<&Program> {
        self.programs.iter().filter(|program| program.component() == component).collect()
    }

    /// Returns the broker connections of the components that `of` accepts.
    pub fn broker_wires(&self, of: fn(Component) -> bool) -> impl Iterator<Item = &Wire> {
        self.wires.iter().filter(move |wire| wire.to_broker_of.is_some_and(of))
    }

    /// Returns the directory of the processes' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.logs.path().to_owned()
    }

    /// Keeps the logs after the end of the run.
    pub fn keep_logs(&mut self) {
        self.logs.disable_cleanup(true);
    }

    /// Runs an operator's command, which must succeed, and returns its output.
    pub async fn operate(&self, arguments: &[&str]) -> String {
        let ended = run("orderflow", arguments, &self.shop.operator_settings()).await;
        assert_eq!(ended.code, Some(0), "orderflow {arguments:?}: {} {}", ended.out, ended.err);
        ended.out
    }

    /// Like [`World::operate`], but retries while RabbitMQ refuses it because it has not started completely.
    pub async fn operate_while_starting(&self, arguments: &[&str]) {
        until_within(STARTS_WITHIN, "RabbitMQ has started completely", async || {
            let ended = run("orderflow", arguments, &self.shop.operator_settings()).await;
            if ended.code == Some(0) { Ok(()) } else { Err(ended) }
        })
        .await;
    }

    /// Continues every stopped process.
    pub async fn wake(&self) {
        for program in &self.programs {
            program.signal(Signal::SIGCONT).await;
        }
    }
}
