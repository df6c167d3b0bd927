//! The progress bar at a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::ops::words::count;

/// A progress bar on standard error, or none.
pub struct Progress(ProgressBar);

impl Progress {
    /// Returns a hidden bar.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Returns a bar for this many orders, or a spinner if the number is unknown.
    pub fn of(orders: Option<u64>) -> Self {
        let (bar, form) = match orders {
            None => (ProgressBar::new_spinner(), "{spinner} {pos} orders, {elapsed}{msg}"),
            Some(orders) => {
                (ProgressBar::new(orders), "{wide_bar} {pos} of some {len} orders, {elapsed} of about {duration}{msg}")
            }
        };
        // The template is a constant; if it were invalid, the bar would only look different.
        let bar = match ProgressStyle::with_template(form) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        // Draw immediately: a short audit ends before the first tick.
        bar.tick();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Shows that this many orders are audited.
    pub fn reached(&self, orders: usize, violations: u64) {
        let orders = u64::try_from(orders).unwrap_or(u64::MAX);
        // An estimate may be too low.
        if self.0.length().is_some_and(|length| length < orders) {
            self.0.set_length(orders);
        }
        self.0.set_position(orders);
        if violations > 0 {
            self.0.set_message(format!(", {}", count(violations, "violation")));
        }
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
