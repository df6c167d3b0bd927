//! The observability of a shop in production, as far as it costs the shop: traces exported to a collector, the log at
//! its default level in JSON, and scraped metrics.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::ServerHandle,
    web::{self, Bytes, Data, PayloadConfig},
};
use clap::ValueEnum;
use orderflow_tests::Scrape;
use serde::Serialize;
use tokio::task::JoinHandle;

/// How closely a shop is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// No traces, only warnings in the log, no scrapes. Metrics are counted nevertheless.
    Off,
    /// One order in ten is traced; log and metrics as with `on`.
    Tenth,
    /// Every order is traced, the log has its default level, and metrics are scraped each second.
    On,
}

/// Logs only warnings and the lines that contain the processes' addresses.
pub const QUIET: [(&str, &str); 1] =
    [("RUST_LOG", "warn,orderflow::web::server=info,orderflow::web::ops=info,orderflow_service::process=info")];

/// The maximum size of a request, in bytes. A batch of spans has a few hundred kilobytes.
const LARGEST: usize = 64 * 1024 * 1024;

/// The scrape interval. `monitoring/prometheus.yml` scrapes every 15 seconds.
const ASK_EVERY: Duration = Duration::from_secs(1);

impl Observed {
    /// Returns the settings of front end and worker.
    pub fn settings(self, collector: &Sink) -> Vec<(&'static str, String)> {
        let ratio = match self {
            Self::Off => return QUIET.map(|(name, value)| (name, value.to_owned())).to_vec(),
            Self::Tenth => "0.1",
            Self::On => "1",
        };
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address)),
            ("OTEL_TRACES_SAMPLER_ARG", ratio.to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ]
    }

    /// Scrapes this process's metrics until the task is aborted; `None` if the shop is not observed.
    pub fn ask(self, address: SocketAddr) -> Option<JoinHandle<()>> {
        (self != Self::Off).then(|| {
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(ASK_EVERY);
                loop {
                    ticks.tick().await;
                    Scrape::of(address).await;
                }
            })
        })
    }
}

/// A collector that discards all traces and counts their bytes. A real collector would process them on another machine.
pub struct Sink {
    address: SocketAddr,
    taken: Arc<AtomicU64>,
    server: ServerHandle,
}

impl Sink {
    /// Starts a collector on a free port.
    pub fn start() -> std::io::Result<Self> {
        let taken = Arc::new(AtomicU64::new(0));
        let data = Data::new(Arc::clone(&taken));
        let app = move || {
            App::new()
                .app_data(data.clone())
                .app_data(PayloadConfig::new(LARGEST))
                .route("/v1/traces", web::post().to(take))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0")?;
        let address = server.addrs().first().copied().ok_or_else(|| std::io::Error::other("it is not bound"))?;
        let running = server.run();
        let handle = running.handle();
        tokio::spawn(running);
        Ok(Self { address, taken, server: handle })
    }

    /// Returns the number of bytes received so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn take(taken: Data<Arc<AtomicU64>>, body: Bytes) -> HttpResponse {
    taken.fetch_add(u64::try_from(body.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
    HttpResponse::Ok().content_type("application/x-protobuf").finish()
}
