//! Places orders at a steady rate for a long time, to show what slows down and what grows.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tokio::{join, task::spawn_blocking};

use crate::{
    figures::{mebibytes, median},
    load::{Load, Placed, accepted_p99},
};

/// Options of `soak`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Orders per second, for instance half the maximum throughput
    #[arg(long)]
    rate: f64,
    /// Duration in minutes for which orders are placed
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// Directory for `soak.csv`
    #[arg(long, default_value = "bench/out")]
    out: PathBuf,
}

/// The figures of one minute.
#[derive(Debug, Clone, Copy)]
struct Minute {
    placed: usize,
    accepted_p99: f64,
    /// Accepted orders that had not shipped at the end of the minute.
    open: i64,
    web_mib: f64,
    worker_mib: f64,
    /// Dead rows that VACUUM has not removed yet, in all tables.
    dead_rows: i64,
    database_mib: i64,
}

const MINUTE: Duration = Duration::from_secs(60);

/// Selects the shipping latency by the minute of placement. The warm-up orders of [`Load::start`] are not in
/// `bench.placed`, so they do not count.
const SHIPPED_BY_MINUTE: &str = "
    SELECT string_agg(concat_ws(',', p50, p99), ';' ORDER BY part) FROM (
        SELECT part,
               round(1000 * extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY at - answered)), 1) AS p50,
               round(1000 * extract(epoch FROM percentile_disc(0.99) WITHIN GROUP (ORDER BY at - answered)), 1) AS p99
        FROM bench.placed JOIN bench.shipped USING (order_id) GROUP BY part) AS minutes";

/// Measures, prints one line per minute, and writes them to `soak.csv`.
pub async fn run(arguments: Arguments) -> io::Result<()> {
    let mut load = Load::start().await;
    let mut minutes = Vec::new();
    let mut latest = Vec::new();
    println!("minute  placed  accepted p99 ms   open  front end MiB  worker MiB  dead rows  database MiB");
    for number in 1..=arguments.minutes {
        // Orders are noted while those of the next minute are placed, so that the rate has no gaps.
        let (placed, noted) = join!(load.place(arguments.rate, MINUTE), record(&load, number - 1, &latest));
        noted?;
        let minute = figures(&mut load, &placed).await;
        latest = placed;
        let Minute { placed, accepted_p99, open, web_mib, worker_mib, dead_rows, database_mib } = minute;
        println!(
            "{number:>6}  {placed:>6}  {accepted_p99:>15.1}  {open:>5}  {web_mib:>13.1}  {worker_mib:>10.1}  {dead_rows:>9}  {database_mib:>12}"
        );
        minutes.push(minute);
    }
    record(&load, arguments.minutes, &latest).await?;
    load.until_shipped().await;
    let shipped = shipped_by_minute(&load).await;
    fs::create_dir_all(&arguments.out)?;
    let path = arguments.out.join("soak.csv");
    fs::write(&path, csv(&minutes, &shipped))?;
    compare_ends(&shipped);
    println!("written: {}", path.display());
    Ok(())
}

/// Writes when these orders were accepted, and removes the mails sent so far.
async fn record(load: &Load, minute: u32, placed: &[Placed]) -> io::Result<()> {
    load.note(minute, placed).await;
    let mails = load.shop.mail_directory();
    spawn_blocking(move || remove_mails(&mails)).await?
}

async fn figures(load: &mut Load, placed: &[Placed]) -> Minute {
    let query = "SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables";
    let dead_rows = load.shop.number(query).await;
    let database_mib = load.shop.number("SELECT pg_database_size(current_database()) >> 20").await;
    Minute {
        placed: placed.len(),
        accepted_p99: accepted_p99(placed),
        open: load.open().await,
        web_mib: mebibytes(load.shop.webs(), "VmRSS"),
        worker_mib: mebibytes(load.shop.workers(), "VmRSS"),
        dead_rows,
        database_mib,
    }
}

/// Removes the mails written so far. Shops under test write them to memory, which half an hour's mails would fill. Mails
/// that are being written have a different extension and are kept.
fn remove_mails(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Returns, for the orders placed in each minute, the median and the 99th percentile from the answer 202 to shipped,
/// in milliseconds.
async fn shipped_by_minute(load: &Load) -> Vec<(f64, f64)> {
    let rows = load.shop.text(SHIPPED_BY_MINUTE).await;
    let row = |row: &str| {
        let mut fields = row.split(',');
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    rows.split(';').filter_map(row).collect()
}

fn csv(minutes: &[Minute], shipped: &[(f64, f64)]) -> String {
    let mut text =
        "minute,placed,accepted_p99_ms,shipped_p50_ms,shipped_p99_ms,open,web_mib,worker_mib,dead_rows,database_mib\n"
            .to_owned();
    for (number, (minute, (p50, p99))) in (1..).zip(minutes.iter().zip(shipped)) {
        let Minute { placed, accepted_p99, open, web_mib, worker_mib, dead_rows, database_mib } = minute;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{number},{placed},{accepted_p99:.1},{p50},{p99},{open},{web_mib:.1},{worker_mib:.1},{dead_rows},{database_mib}"
        );
    }
    text
}

/// Prints the latencies of the first and the last sixth of the run in one line.
fn compare_ends(shipped: &[(f64, f64)]) {
    let sixth = shipped.len().div_ceil(6);
    let (first, last) = (&shipped[..sixth], &shipped[shipped.len() - sixth..]);
    let middle = |minutes: &[(f64, f64)]| {
        let [p50, p99]: [Vec<f64>; 2] =
            [minutes.iter().map(|one| one.0).collect(), minutes.iter().map(|one| one.1).collect()];
        (median(p50), median(p99))
    };
    let ((p50, p99), (later_p50, later_p99)) = (middle(first), middle(last));
    println!(
        "shipped after {p50:.0} ms (median) and {p99:.0} ms (p99) in the first {sixth} min, {later_p50:.0} ms and {later_p99:.0} ms in the last"
    );
}
