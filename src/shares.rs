//! How the front end divides its connections to PostgreSQL.

use orderflow_service::config::DatabaseConfig;

use crate::web::Part;

/// Which part has how many of `DATABASE_POOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// What hears which orders have moved keeps one of its own.
    pub listening: usize,
    /// Customers: the committers, the relay and reads, of which each takes well under a millisecond. Of a console alone: its check at
    /// the start, and what it reads every ten seconds.
    pub pool: usize,
    /// Operators' pages.
    pub console: usize,
}

/// What is chosen where nobody does. Three committers take most of what customers need at any one time.
const BOTH: usize = 8;
const SHOP: usize = 6;
const CONSOLE: usize = 4;

impl Shares {
    /// Divides the connections of a process that is this part of the front end, or all of it.
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

    /// Returns how many connections the process may open in all.
    #[must_use]
    pub fn all(self) -> usize {
        self.listening + self.pool + self.console
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_that_the_setting_allows() {
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
