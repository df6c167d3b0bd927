//! All that watches a shop in production, as far as it costs the shop: a collector that takes every order's trace, the log
//! at its default level in JSON, and somebody who asks for the metrics.

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

/// Whether a shop is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// No traces, no log but warnings, nobody asks for metrics. They are counted all the same.
    Off,
    /// One order of ten is traced; log and metrics as with `on`.
    Tenth,
    /// Every order is traced, all is logged that is by default, and metrics are asked for each second.
    On,
}

/// Nothing but the lines by which the processes' addresses are known.
pub const QUIET: [(&str, &str); 1] =
    [("RUST_LOG", "warn,orderflow::web::server=info,orderflow::web::ops=info,orderflow_service::process=info")];

/// A batch of spans takes some hundred kilobytes.
const LARGEST: usize = 64 * 1024 * 1024;

/// How often metrics are asked for: fifteen times as often as by `monitoring/prometheus.yml`.
const ASK_EVERY: Duration = Duration::from_secs(1);

impl Observed {
    /// Settings of both programs.
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

    /// Asks this process for its metrics until the task is aborted.
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

/// A collector that takes everything and keeps only its size: what a collector does with traces it does elsewhere.
pub struct Sink {
    address: SocketAddr,
    taken: Arc<AtomicU64>,
    server: ServerHandle,
}

impl Sink {
    /// Starts one.
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

    /// Bytes that it was sent.
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
