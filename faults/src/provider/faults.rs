//! What may go wrong with a call, on purpose.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All is well.
    #[default]
    None,
    /// 500, and nothing has happened.
    ErrorBefore,
    /// It happens, and then 500, which is kept under the request's key.
    ErrorAfter,
    /// Nothing happens, and no answer comes.
    HangBefore,
    /// It happens, and no answer comes.
    HangAfter,
    /// 429, and nothing has happened.
    RateLimited,
    /// It happens, and the answer is no JSON.
    Garbage,
}

/// What is to go wrong, and how often.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Setting {
    pub mode: Mode,
    /// Of all calls, 0 to 1.
    #[serde(default)]
    pub share: f64,
}

/// Decides which call is struck; the same seed and the same calls are the same faults.
#[derive(Debug)]
pub struct Dice {
    pub setting: Setting,
    /// How often each fault has struck.
    pub struck: BTreeMap<Mode, u64>,
    random: StdRng,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { setting: Setting::default(), struck: BTreeMap::new(), random: StdRng::seed_from_u64(seed) }
    }

    /// What happens to the next call.
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
