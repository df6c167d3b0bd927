//! Deliberate failures of calls.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// No failure.
    #[default]
    None,
    /// 500 without effect.
    ErrorBefore,
    /// The call takes effect; the answer is 500, kept under the request's key.
    ErrorAfter,
    /// No effect and no answer.
    HangBefore,
    /// The call takes effect without an answer.
    HangAfter,
    /// 429 without effect.
    RateLimited,
    /// The call takes effect; the answer is not JSON.
    Garbage,
}

/// A failure, and the share of calls that it strikes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Setting {
    pub mode: Mode,
    /// The share of calls affected, 0 to 1.
    #[serde(default)]
    pub share: f64,
}

/// Decides which calls fail; the same seed and the same calls give the same faults.
#[derive(Debug)]
pub struct Dice {
    pub setting: Setting,
    /// How many times each failure has struck.
    pub struck: BTreeMap<Mode, u64>,
    random: StdRng,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { setting: Setting::default(), struck: BTreeMap::new(), random: StdRng::seed_from_u64(seed) }
    }

    /// Returns the failure of the next call.
    pub fn throw(&mut self) -> Mode {
        let Setting { mode, share } = self.setting;
        if mode == Mode::None || !self.random.random_bool(share.clamp(0.0, 1.0)) {
            return Mode::None;
        }
        let struck = self.struck.entry(mode).or_insert(0);
        *struck = struck.saturating_add(1);
        mode
    }
}
