//! Everything that a run consists of: servers, the wires to them, and our processes.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use orderflow::fault::Safeguard;
use orderflow_tests::{Proxy, Shop, Stripe, Web, run};
use tempfile::TempDir;

use crate::{
    customers::SCARCE,
    program::Program,
    servers::{Own, free_port},
};

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
}

/// A shop with servers, wires and processes that can be broken.
pub struct World {
    /// Database and virtual host.
    pub shop: Shop,
    /// The payment provider, a process of its own with a ledger of its own.
    pub provider: Stripe,
    /// The front ends' wires to database and broker, and the workers'.
    pub wires: Vec<Proxy>,
    /// The front ends and then the workers.
    pub programs: Vec<Program>,
    /// The front ends, as customers see them.
    pub webs: Vec<Web>,
    logs: TempDir,
}

impl World {
    /// Makes a shop on these servers and starts its processes.
    pub async fn open(own: &Own, setup: Setup, kept: Option<&Path>) -> Self {
        let shop = Shop::open_on(own.servers(), RETRY_DELAYS).await;
        let mut logs = tempfile::Builder::new();
        logs.prefix("orderflow-logs-").disable_cleanup(kept.is_some());
        let logs = logs.tempdir_in(kept.unwrap_or(&std::env::temp_dir())).expect("a directory");
        shop.execute("CREATE SCHEMA faults").await;
        shop.execute("CREATE TABLE faults.applied (event_id uuid NOT NULL, subscription text NOT NULL)").await;
        if setup.without == Some(Safeguard::StockLock) {
            // The last word against overselling, behind the lock.
            shop.execute("ALTER TABLE inventory.stock DROP CONSTRAINT IF EXISTS stock_available_check").await;
        }
        let provider = Stripe::start().await;
        let mut world = Self { shop, provider, wires: Vec::new(), programs: Vec::new(), webs: Vec::new(), logs };
        world.operate(&["stock", "set", SCARCE, &setup.scarce.to_string()]).await;
        world.start(setup).await;
        world
    }

    async fn start(&mut self, setup: Setup) {
        for (user, program) in [("orderflow-web", "orderflow"), ("orderflow-worker", "orderflow-worker")] {
            let (database, broker) = (self.shop.database_url(), self.shop.broker_url(user));
            let (to_database, to_broker) = (Proxy::to(&database).await, Proxy::to(&broker).await);
            let common = [
                ("DATABASE_URL", to_database.through(&database).to_string()),
                ("AMQP_URL", to_broker.through(&broker).to_string()),
                ("RUST_LOG", "info,lapin=error".to_owned()),
                // Soon enough that a provider that hangs is seen to hang, and left alone, within a run.
                ("PAYMENT_TIMEOUT", "3s".to_owned()),
                ("RECONCILE_AFTER", if setup.reconcile { "15s" } else { "1h" }.to_owned()),
                ("ORDERFLOW_NOTE_APPLIED", "1".to_owned()),
                ("ORDERFLOW_WITHOUT", setup.without.map_or("", Safeguard::as_str).to_owned()),
            ];
            for number in 1..=EACH {
                let name = format!("{program}-{number}");
                let mut settings: Vec<(String, String)> = self.shop.settings(user);
                settings.extend(self.provider.settings());
                settings.extend(common.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
                let arguments: &[&str] = if program == "orderflow" {
                    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
                    settings.push(("LISTEN".to_owned(), address.to_string()));
                    self.webs.push(Web::new(address));
                    &["serve"]
                } else {
                    &[]
                };
                let log = self.logs.path().join(format!("{name}.log"));
                self.programs.push(Program::keep(&name, program, arguments, settings, log));
            }
            self.wires.extend([to_database, to_broker]);
        }
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
