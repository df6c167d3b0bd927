//! Chooses how many orders to read in one transaction: as many as take about a second.

use std::time::Duration;

use orderflow_service::store::StoreError;
use tokio::time::Instant;

/// The upper bound: more would hold a snapshot, and rows in memory, without gain.
const MOST: i64 = 5_000;

/// The lower bound: if this few take too long, their number is not the cause.
const LEAST: i64 = 100;

/// A part that takes longer is followed by a smaller one.
const SHOULD_TAKE: Duration = Duration::from_secs(1);

/// The number of orders of the next part.
#[derive(Debug)]
pub struct Pace {
    orders: i64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { orders: LEAST * 10 }
    }
}

impl Pace {
    /// Calls `look` for the next part; repeats it with fewer orders after a statement time-out.
    ///
    /// # Errors
    /// Returns the errors of `look`.
    pub async fn next<T>(&mut self, mut look: impl AsyncFnMut(i64) -> Result<T, StoreError>) -> Result<T, StoreError> {
        loop {
            let began = Instant::now();
            let seen = look(self.orders).await;
            let least = self.orders == LEAST;
            self.orders = match began.elapsed() {
                _ if seen.is_err() => LEAST.max(self.orders / 4),
                took if took > SHOULD_TAKE => LEAST.max(self.orders / 2),
                took if took < SHOULD_TAKE / 2 => MOST.min(self.orders * 2),
                _ => self.orders,
            };
            match seen {
                Err(error) if error.is_statement_timeout() && !least => {}
                seen => return seen,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::error::SqlState;

    use super::*;

    fn too_slow() -> StoreError {
        StoreError::refused(SqlState::QUERY_CANCELED)
    }

    #[tokio::test(start_paused = true)]
    async fn parts_grow_while_fast_and_shrink_when_slow() {
        let (mut pace, mut sizes) = (Pace::default(), Vec::new());
        for seconds in [0, 0, 0, 0, 2, 1, 0] {
            let look = async |orders| {
                sizes.push(orders);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok(())
            };
            pace.next(look).await.expect("it succeeds");
        }
        assert_eq!(sizes, [1_000, 2_000, 4_000, 5_000, 5_000, 2_500, 2_500]);
    }

    #[tokio::test(start_paused = true)]
    async fn part_that_times_out_is_repeated_in_smaller_parts() {
        let mut sizes = Vec::new();
        let look = async |orders| {
            sizes.push(orders);
            if orders > 300 { Err(too_slow()) } else { Ok(()) }
        };
        assert!(Pace::default().next(look).await.is_ok());
        assert_eq!(sizes, [1_000, 250]);
        let mut tries = 0;
        let never = async |_| {
            tries += 1;
            Err::<(), _>(too_slow())
        };
        assert!(Pace::default().next(never).await.is_err());
        assert_eq!(tries, 3);
    }
}
