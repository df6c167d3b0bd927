//! Everything that a run consists of: servers, the wires to them, and our processes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use orderflow_service::{Roster, fault::Safeguard, store::registered};
use orderflow_tests::{
    Proxy, Shop, Stripe, Web,
    own::{Own, free_port},
    program_path, run,
};
use orderflow_worker::roster;
use tempfile::TempDir;
use url::Url;

use crate::{customers::SCARCE, examples, mail::MailServer, program::Program};

/// Long enough in all for every outage of a run, and soon enough at first to see many retries.
const RETRY_DELAYS: &str = "1s,2s,5s,10s,20s,40s";

/// Front ends, and workers, of a run.
const EACH: usize = 2;

/// How a world is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// The safeguard that is left out.
    pub without: Option<Safeguard>,
    /// Whether lost deliveries are looked for all the time. Where no queue is deleted nothing may need it.
    pub reconcile: bool,
    /// Pieces of the scarce product.
    pub scarce: u32,
    /// So many orders may wait before customers are sent away, where that is not as always.
    pub admission: Option<u32>,
    /// Whether the services in examples/ run too.
    pub examples: bool,
}

/// A wire, and what it connects.
pub struct Wire {
    /// For people.
    pub name: String,
    /// What can be broken.
    pub proxy: Proxy,
    /// Whose wire to the broker it is, if it is one.
    to_broker_of: Option<Side>,
}

/// Programs that publish and consume through wires of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Front ends.
    Web,
    /// Workers, and what works beside them.
    Workers,
}

/// A shop with servers, wires and processes that can be broken.
pub struct World {
    /// Database and virtual host.
    pub shop: Shop,
    /// The payment provider, a process of its own with a ledger of its own.
    pub provider: Stripe,
    /// The mail server, likewise.
    pub mail: MailServer,
    /// All of them: customers' to the front ends, and our processes' to database, broker, provider and mail server.
    pub wires: Vec<Wire>,
    /// The front ends, the workers, and then what works beside them.
    pub programs: Vec<Program>,
    /// The front ends, as customers see them.
    pub webs: Vec<Web>,
    /// The services that run.
    pub roster: Roster,
    /// Whether those in examples/ are among them.
    pub examples: bool,
    logs: TempDir,
}

impl World {
    /// Makes a shop on these servers and starts its processes.
    pub async fn open(own: &Own, setup: Setup, kept: Option<&Path>) -> Self {
        let shop = Shop::open_on(own.servers(), RETRY_DELAYS).await;
        if let Some(kept) = kept {
            std::fs::create_dir_all(kept).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
        }
        let mut logs = tempfile::Builder::new();
        logs.prefix("orderflow-logs-").disable_cleanup(kept.is_some());
        let logs = logs.tempdir_in(kept.unwrap_or(&std::env::temp_dir())).expect("a directory");
        shop.execute("CREATE SCHEMA faults").await;
        shop.execute("CREATE TABLE faults.applied (event_id uuid NOT NULL, subscription text NOT NULL, recognised boolean NOT NULL)").await;
        if setup.without == Some(Safeguard::StockLock) {
            // The last word against overselling, behind the lock.
            shop.execute("ALTER TABLE inventory.stock DROP CONSTRAINT IF EXISTS stock_available_check").await;
        }
        let (provider, mail) = (Stripe::start().await, MailServer::start().await);
        let (wires, programs, webs) = (Vec::new(), Vec::new(), Vec::new());
        let (roster, examples) = (roster().clone(), setup.examples);
        let mut world = Self { shop, provider, mail, wires, programs, webs, roster, examples, logs };
        world.operate(&["stock", "set", SCARCE, &setup.scarce.to_string()]).await;
        world.start_front_ends(own, setup).await;
        world.start_workers(own, setup).await;
        if setup.examples {
            examples::start(&mut world, own, setup).await;
            let registered = registered::list(&mut world.shop.database().await).await;
            world.roster = world.roster.with(&registered.expect("the services can be read"));
        }
        world
    }

    async fn start_front_ends(&mut self, own: &Own, setup: Setup) {
        let settings = self.settings_of("orderflow-web", Side::Web, own, setup).await;
        for number in 1..=EACH {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let wire = Proxy::to(&format!("http://{address}").parse().expect("a URL")).await;
            self.webs.push(Web::new(wire.address()));
            self.add("customers to a front end", wire, None);
            let mut settings = settings.clone();
            settings.push(("LISTEN".to_owned(), address.to_string()));
            self.keep(&format!("orderflow-{number}"), program_path("orderflow"), &["serve"], settings);
        }
    }

    async fn start_workers(&mut self, own: &Own, setup: Setup) {
        let mut settings = self.settings_of("orderflow-worker", Side::Workers, own, setup).await;
        settings.extend(self.provider.settings());
        for (name, url) in
            [("STRIPE_API_BASE", self.provider.base().parse().expect("a URL")), ("SMTP_URL", self.mail.url())]
        {
            let wire = Proxy::to(&url).await;
            // A base has no slash at its end.
            settings.push((name.to_owned(), wire.through(&url).as_str().trim_end_matches('/').to_owned()));
            self.add(&format!("workers to {name}"), wire, None);
        }
        settings.push(("MAIL".to_owned(), "smtp".to_owned()));
        for number in 1..=EACH {
            self.keep(&format!("orderflow-worker-{number}"), program_path("orderflow-worker"), &[], settings.clone());
        }
    }

    /// The settings of the processes that are this user of the broker, and their wires to database and broker.
    async fn settings_of(&mut self, user: &str, side: Side, own: &Own, setup: Setup) -> Vec<(String, String)> {
        let (database, broker) = (self.shop.database_url(), self.shop.broker_url(user));
        self.settings(user, side, &database, &broker, own, setup).await
    }

    /// The settings of processes that reach the servers by these addresses, and their wires to them.
    pub async fn settings(
        &mut self,
        who: &str,
        side: Side,
        database: &Url,
        broker: &Url,
        own: &Own,
        setup: Setup,
    ) -> Vec<(String, String)> {
        let to_database = Proxy::to(database).await;
        let through = to_database.through(database).to_string();
        self.add(&format!("{who} to the database"), to_database, None);
        let mut nodes = Vec::new();
        for node in own.rabbitmq.urls() {
            let mut url = broker.clone();
            url.set_port(node.port()).expect("the URL has a host");
            let wire = Proxy::to(&url).await;
            nodes.push(wire.through(&url).to_string());
            self.add(&format!("{who} to the broker"), wire, Some(side));
        }
        let own = [
            ("DATABASE_URL", through),
            ("AMQP_URL", nodes.join(",")),
            ("RUST_LOG", "info,lapin=error".to_owned()),
            // Soon enough that a provider that hangs is seen to hang, and left alone, within a run.
            ("PAYMENT_TIMEOUT", "3s".to_owned()),
            ("RECONCILE_AFTER", if setup.reconcile { "15s" } else { "1h" }.to_owned()),
            ("ORDERFLOW_NOTE_APPLIED", "1".to_owned()),
            ("ORDERFLOW_WITHOUT", setup.without.map_or("", Safeguard::as_str).to_owned()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let admission = setup.admission.map(|rows| ("ADMISSION_MAX_OUTBOX_ROWS".to_owned(), rows.to_string()));
        self.shop.settings("orderflow-worker").into_iter().chain(own).chain(admission).collect()
    }

    fn add(&mut self, name: &str, proxy: Proxy, to_broker_of: Option<Side>) {
        self.wires.push(Wire { name: name.to_owned(), proxy, to_broker_of });
    }

    /// Keeps a program running until the run is over.
    pub fn keep(&mut self, name: &str, program: PathBuf, arguments: &[&str], settings: Vec<(String, String)>) {
        let log = self.logs.path().join(format!("{name}.log"));
        self.programs.push(Program::keep(name, program, arguments, settings, log));
    }

    /// The workers, and what works beside them.
    pub fn workers(&self) -> &[Program] {
        &self.programs[EACH..]
    }

    /// The wires to the broker of one side.
    pub fn broker_wires(&self, of: Side) -> impl Iterator<Item = &Wire> {
        self.wires.iter().filter(move |wire| wire.to_broker_of == Some(of))
    }

    /// Where the processes' logs are, for people.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.logs.path().to_owned()
    }

    /// Keeps the logs when the run is over.
    pub fn keep_logs(&mut self) {
        self.logs.disable_cleanup(true);
    }

    /// Runs an operator's command, which has to succeed, and returns what it says.
    pub async fn operate(&self, arguments: &[&str]) -> String {
        let ended = run("orderflow", arguments, &self.shop.operator_settings()).await;
        assert_eq!(ended.code, Some(0), "orderflow {arguments:?}: {} {}", ended.out, ended.err);
        ended.out
    }

    /// Lets every stopped process go on.
    pub async fn wake(&self) {
        for program in &self.programs {
            program.signal(Signal::SIGCONT).await;
        }
    }
}
