//! A whole shop for a test: its own database and virtual host on the real servers, with real processes.
//!
//! ```text
//! let mut shop = Shop::open().await;
//! let web = shop.start_web().await;
//! shop.start_worker(&[]).await;
//! web.order("MUG-BLUE", 1, VISA).await;
//! shop.until_settled().await;
//! shop.close().await;          // fails if anything is left over
//! ```
//!
//! Nothing here sleeps for a fixed time: everything waits for a condition, and its time-out names that condition.

mod broker;
mod browser;
mod certificates;
mod client;
mod collector;
pub mod examples;
pub mod grown;
pub mod history;
mod invariants;
mod live;
mod maildev;
pub mod own;
mod process;
mod products;
pub mod project;
mod proxy;
pub mod queues;
pub mod roles;
mod sample;
mod scrape;
mod servers;
mod shop;
mod smtp;
mod stripe;
mod terminal;
mod visitor;
mod wait;

pub use broker::Probe;
pub use browser::{Browser, DESKTOP, Element, PHONE, Screen, Weight};
pub use certificates::{Authority, Issued};
pub use client::{Answer, Order, Web, body, key, plaintext};
pub use collector::{Collector, Traced};
pub use invariants::INVARIANTS;
pub use live::{Said, Watcher};
pub use maildev::{Maildev, Received};
pub use process::{Child, Ended, memory, program_path, run, run_for, run_path};
pub use products::add_products;
pub use proxy::{Proxy, Way};
pub use sample::sample;
pub use scrape::{Sample, Scrape};
pub use servers::{Servers, log_in};
pub use shop::{Left, Shop};
pub use smtp::{Postbox, SmtpSink, serve_mail};
pub use stripe::{Charged, Stripe};
pub use terminal::{Terminal, Typed, run_on_terminal};
pub use visitor::{Page, Visitor};
pub use wait::{until, until_measured, until_within};

/// The test card that succeeds.
pub const VISA: &str = "pm_card_visa";
/// The test card that is permanently declined.
pub const DECLINED: &str = "pm_card_visa_chargeDeclined";
