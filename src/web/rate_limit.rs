//! Limits how fast one client address may place orders.
//!
//! Only new orders count. A repeated request gets its stored answer at any rate: what it took from the limit is
//! returned to the client. Once the limit is used up, a request is answered only if a look-up finds its stored answer.
//! Look-ups have their own limit; otherwise they would be a way around this one.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::HttpRequest;
use governor::{DefaultKeyedRateLimiter, Quota, clock::Clock as _};
use orderflow_service::periodic;
use tokio_util::sync::CancellationToken;

use super::{
    client::Clients,
    problem::{Code, Problem},
};

/// How often addresses without recent orders are forgotten, which bounds the memory. After a minute without an order an
/// address has its whole limit again, so returned allowance need not be kept longer than that.
const FORGET: Duration = Duration::from_secs(60);

/// The look-ups that a client may make per order of its limit: after it lost its connection, it repeats each request a
/// few times.
const LOOKUPS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

type Limiter = DefaultKeyedRateLimiter<IpAddr>;

/// The limiter. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RateLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: u32,
    orders: Limiter,
    lookups: Limiter,
    /// Allowance returned for requests that turned out to be repetitions; at most `most` per client.
    given_back: Mutex<HashMap<IpAddr, u32>>,
    clients: Clients,
}

/// What a client is allowed to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// Place an order. Its allowance is returned if it turns out to be a repetition; `None`: there is no limit.
    Order(Option<IpAddr>),
    /// Get the stored answer of an order that is already placed.
    Repetition {
        /// Seconds until a new order is accepted.
        retry_after: u64,
    },
}

impl RateLimit {
    /// Allows each address `per_minute` orders a minute. Starts a task on the current runtime that ends with `stop`.
    #[must_use]
    pub fn start(per_minute: NonZeroU32, clients: Clients, stop: CancellationToken) -> Self {
        let limit = Self::new(per_minute, clients);
        let forgetting = limit.clone();
        tokio::spawn(async move {
            while periodic::pause(FORGET, &stop).await {
                forgetting.forget();
            }
        });
        limit
    }

    fn new(per_minute: NonZeroU32, clients: Clients) -> Self {
        Self(Arc::new(Shared {
            most: per_minute.get(),
            orders: Limiter::keyed(Quota::per_minute(per_minute)),
            lookups: Limiter::keyed(Quota::per_minute(per_minute.saturating_mul(LOOKUPS))),
            given_back: Mutex::default(),
            clients,
        }))
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429, with the time after which the next request is accepted.
    pub fn admit(&self, request: &HttpRequest) -> Result<Allowance, Problem> {
        self.admit_client(self.0.clients.of(request))
    }

    fn admit_client(&self, client: IpAddr) -> Result<Allowance, Problem> {
        if self.take_back(client) {
            return Ok(Allowance::Order(Some(client)));
        }
        let Err(refused) = self.0.orders.check_key(&client) else { return Ok(Allowance::Order(Some(client))) };
        let retry_after = refused.wait_time_from(self.0.orders.clock().now()).as_secs().saturating_add(1);
        match self.0.lookups.check_key(&client) {
            Ok(()) => Ok(Allowance::Repetition { retry_after }),
            Err(_) => Err(too_many(retry_after)),
        }
    }

    /// Returns the allowance of a request that turned out to be a repetition.
    pub fn give_back(&self, allowance: Allowance) {
        let Allowance::Order(Some(client)) = allowance else { return };
        let mut given_back = self.given_back();
        let credit = given_back.entry(client).or_default();
        *credit = credit.saturating_add(1).min(self.0.most);
    }

    fn take_back(&self, client: IpAddr) -> bool {
        let mut given_back = self.given_back();
        let Some(credit) = given_back.get_mut(&client) else { return false };
        *credit = credit.saturating_sub(1);
        if *credit == 0 {
            given_back.remove(&client);
        }
        true
    }

    fn forget(&self) {
        self.0.orders.retain_recent();
        self.0.lookups.retain_recent();
        self.given_back().clear();
    }

    fn given_back(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.0.given_back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the answer to a client that exceeds the limit.
#[must_use]
pub fn too_many(retry_after: u64) -> Problem {
    Problem::new(Code::TooManyRequests, "Nothing was stored. Try again later.").retry_after(retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: fn(IpAddr) -> Allowance = |client| Allowance::Order(Some(client));

    fn limit(per_minute: u32) -> RateLimit {
        RateLimit::new(NonZeroU32::new(per_minute).expect("a number"), Clients::new(&[]))
    }

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn may_order(limit: &RateLimit, client: IpAddr) -> bool {
        limit.admit_client(client).is_ok_and(|allowance| allowance == ORDER(client))
    }

    #[test]
    fn a_repetition_costs_nothing() {
        let limit = limit(2);
        for _ in 0..50 {
            let allowance = limit.admit_client(client(1)).expect("it is admitted");
            assert_eq!(allowance, ORDER(client(1)));
            limit.give_back(allowance);
        }
        assert!(may_order(&limit, client(1)) && may_order(&limit, client(1)));
        // However often the client repeats, at most its whole limit is returned.
        assert!((0..3).filter(|_| may_order(&limit, client(1))).count() <= 2);
    }

    #[test]
    fn a_client_over_its_limit_gets_only_stored_answers_and_not_without_limit() {
        let limit = limit(2);
        assert!(may_order(&limit, client(1)) && may_order(&limit, client(1)));
        for _ in 0..20 {
            let allowance = limit.admit_client(client(1)).expect("a lookup is allowed");
            assert!(matches!(allowance, Allowance::Repetition { retry_after: 1..=31 }), "{allowance:?}");
            // A repetition took nothing, so nothing is returned.
            limit.give_back(allowance);
        }
        let refused = limit.admit_client(client(1)).expect_err("it is refused");
        assert_eq!(refused.code(), Code::TooManyRequests);
        assert!(refused.retry_seconds().is_some_and(|seconds| (1..=31).contains(&seconds)));
        assert!(may_order(&limit, client(2)), "each client has a limit of its own");
    }

    #[test]
    fn returned_allowance_is_forgotten_with_the_rest() {
        let limit = limit(1);
        let allowance = limit.admit_client(client(1)).expect("it is admitted");
        limit.give_back(allowance);
        limit.forget();
        assert!(limit.given_back().is_empty());
    }
}
