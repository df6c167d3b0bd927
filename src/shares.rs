//! How the front end divides its connections to PostgreSQL.

use orderflow_service::config::DatabaseConfig;

use crate::web::Part;

/// How many connections of `DATABASE_POOL` each part gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// For the listener for order changes, which holds one permanently.
    pub listening: usize,
    /// For customers: the committers, the relay and reads, each taking well under a millisecond. A console on its own
    /// uses them for its start-up check and for the reads that it repeats every ten seconds.
    pub pool: usize,
    /// For operators' pages.
    pub console: usize,
}

/// The defaults if `DATABASE_POOL` is not set. Three committers use most of what customers need at any one time.
const BOTH: usize = 8;
const SHOP: usize = 6;
const CONSOLE: usize = 4;

impl Shares {
    /// Divides the connections of a process that runs this part of the front end, or all of it if `part` is `None`.
    #[must_use]
    pub fn of(database: &DatabaseConfig, part: Option<Part>) -> Self {
        let chosen = |usual| database.pool.unwrap_or(usual);
        match part {
            None => {
                let rest = chosen(BOTH).saturating_sub(1);
                let console = if rest > 5 { 2 } else { 1 };
                Self { listening: 1, pool: rest.saturating_sub(console).max(1), console }
            }
            Some(Part::Shop) => Self { listening: 1, pool: chosen(SHOP).saturating_sub(1).max(1), console: 0 },
            Some(Part::Console) => {
                let all = chosen(CONSOLE);
                Self { listening: 0, pool: (all / 2).max(1), console: all.div_ceil(2) }
            }
        }
    }

    /// Returns the total number of connections that the process may open.
    #[must_use]
    pub fn all(self) -> usize {
        self.listening + self.pool + self.console
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_setting() {
        for part in [None, Some(Part::Shop), Some(Part::Console)] {
            for pool in [4, 5, 6, 7, 8, 20, 500] {
                let database = DatabaseConfig { pool: Some(pool), ..DatabaseConfig::at("postgres://localhost/d") };
                let shares = Shares::of(&database, part);
                assert_eq!(shares.all(), pool, "{part:?} {pool}: {shares:?}");
                assert!(part == Some(Part::Shop) || shares.console > 0, "{part:?} {pool}: {shares:?}");
                assert!(part == Some(Part::Console) || shares.pool > 1, "{part:?} {pool}: {shares:?}");
            }
        }
        let usual = DatabaseConfig::at("postgres://localhost/d");
        assert_eq!(Shares::of(&usual, None), Shares { listening: 1, pool: 5, console: 2 });
    }
}
