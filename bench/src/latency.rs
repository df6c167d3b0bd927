//! Measures the latency from acceptance to shipment at a steady rate of orders.

use std::time::Duration;

use clap::Args;

use crate::load::{Load, accepted_p99};

/// Options of `latency`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Arguments {
    /// Orders per second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Duration in seconds for which orders are placed
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

/// Measures the latencies and prints them.
pub async fn run(Arguments { rate, seconds }: Arguments) -> std::io::Result<()> {
    let Latency { shipped_p50, shipped_p99, accepted_p99 } = measure(rate, seconds).await;
    println!(
        "{rate} orders/s: accepted after {accepted_p99:.1} ms (p99), shipped after {shipped_p50:.1} ms (median) and \
         {shipped_p99:.1} ms (p99)"
    );
    Ok(())
}

/// The latencies of all orders of a run, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// The median from the answer 202 to shipped.
    pub shipped_p50: f64,
    /// The 99th percentile from the answer 202 to shipped.
    pub shipped_p99: f64,
    /// The 99th percentile from the request to the answer 202.
    pub accepted_p99: f64,
}

/// Places `rate` orders per second for this many seconds, with one front end and one worker, and waits until all have
/// shipped.
///
/// # Panics
/// Panics if an order is refused or does not ship.
pub async fn measure(rate: f64, seconds: u32) -> Latency {
    let load = Load::start().await;
    let placed = load.place(rate, Duration::from_secs(seconds.into())).await;
    load.until_shipped().await;
    load.note(1, &placed).await;
    let shipped = async |share: &str| {
        let query = format!(
            "SELECT (1e6 * extract(epoch FROM percentile_disc({share}) WITHIN GROUP (ORDER BY at - answered)))::bigint
             FROM bench.placed JOIN bench.shipped USING (order_id)"
        );
        i32::try_from(load.shop.number(&query).await).map_or(f64::NAN, f64::from) / 1e3
    };
    Latency {
        shipped_p50: shipped("0.5").await,
        shipped_p99: shipped("0.99").await,
        accepted_p99: accepted_p99(&placed),
    }
}
