//! The customers of a run and the answers that they got: the reference for the final checks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orderflow_tests::{Answer, Order, Web, body};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use reqwest::{Method, StatusCode};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Concurrent customers; at this number no new ones start.
const AT_ONCE: usize = 400;

/// Number of tries before a customer gives up.
const TRIES: u32 = 60;

/// The mean wait between two tries.
const PAUSE: Duration = Duration::from_millis(1_500);

/// What a customer does, drawn from the run's seed.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// The idempotency key.
    pub key: String,
    /// The product.
    pub sku: &'static str,
    /// How many.
    pub quantity: i64,
    /// The card.
    pub method: &'static str,
    /// Whether to repeat the request once it is accepted.
    pub repeat: bool,
    /// Whether to give up an unanswered request instead of retrying it.
    pub walk_away: bool,
    /// When to request a cancel.
    pub cancel_after: Option<Duration>,
}

/// The scarce product.
pub const SCARCE: &str = "NOTEBOOK-A5";

impl Behaviour {
    fn draw(number: u64, run: Uuid, scarce: u8, random: &mut StdRng) -> Self {
        let sku = if random.random_range(0..100) < scarce {
            SCARCE
        } else {
            match random.random_range(0..100) {
                0..8 => "BATTERY-BULK",
                8..55 => "MUG-BLUE",
                _ => "TEAPOT-1L",
            }
        };
        let method = match random.random_range(0..100) {
            0..8 => "pm_card_visa_chargeDeclined",
            8..14 => "pm_card_flaky",
            _ => "pm_card_visa",
        };
        let cancel = random.random_bool(0.25);
        // Some immediately, so that the cancel overtakes the order; most within the time that an order takes.
        let after = if random.random_bool(0.4) { 0 } else { random.random_range(0..1500) };
        Self {
            key: format!("faults-{run}-{number:08}"),
            sku,
            quantity: random.random_range(1..=3),
            method,
            repeat: random.random_bool(0.2),
            walk_away: random.random_bool(0.1),
            cancel_after: cancel.then(|| Duration::from_millis(after)),
        }
    }

    /// Returns an order of one plentiful product with a card that succeeds.
    pub fn plain(key: String) -> Self {
        Self {
            key,
            sku: "MUG-BLUE",
            quantity: 1,
            method: "pm_card_visa",
            repeat: false,
            walk_away: false,
            cancel_after: None,
        }
    }

    /// Returns the request's body.
    pub fn body(&self) -> Vec<u8> {
        body(self.sku, self.quantity, self.method).to_string().into_bytes()
    }
}

/// What a customer finally knows about an order.
#[derive(Debug, Clone)]
pub enum Known {
    /// It was accepted.
    Accepted(Order),
    /// It was refused and does not exist.
    Refused(StatusCode),
    /// There was no answer: it may exist or not.
    Unknown,
}

/// One customer's experience.
#[derive(Debug, Clone)]
pub struct Story {
    /// What the customer did.
    pub behaviour: Behaviour,
    /// The outcome.
    pub known: Known,
    /// The last status that the customer saw.
    pub last_status: Option<String>,
}

/// What all customers saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Their stories.
    pub stories: Vec<Story>,
    /// Violations, a sentence each.
    pub violations: Vec<String>,
    /// Number of stored answers returned for repeated requests.
    pub replayed: usize,
    /// Number of answers by request and status.
    pub answers: BTreeMap<String, u64>,
}

type Shared = Arc<Mutex<Seen>>;

/// A shop and the rate of its customers.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its front ends.
    pub webs: Vec<Web>,
    /// The seed of every random choice.
    pub seed: u64,
    /// Customers a second.
    pub per_second: u32,
    /// Percentage of customers who want the scarce product.
    pub scarce: u8,
}

/// Runs customers until `stop` is cancelled and the last of them is done or has given up.
pub async fn come(shop: Opened, stop: CancellationToken) -> Seen {
    let Opened { webs, seed, per_second, scarce } = shop;
    let seen = Shared::default();
    let run = Uuid::now_v7();
    let mut random = StdRng::seed_from_u64(seed);
    let mut customers = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !stop.is_cancelled() {
        ticks.tick().await;
        while customers.try_join_next().is_some() {}
        if customers.len() < AT_ONCE {
            number += 1;
            let behaviour = Behaviour::draw(number, run, scarce, &mut random);
            let random = StdRng::seed_from_u64(random.random());
            let (webs, seen, stop) = (webs.clone(), Arc::clone(&seen), stop.clone());
            customers.spawn(Customer { webs, behaviour, random, seen, stop }.live());
        }
    }
    while customers.join_next().await.is_some() {}
    Arc::try_unwrap(seen).expect("every customer is done").into_inner().unwrap_or_else(PoisonError::into_inner)
}

struct Customer {
    webs: Vec<Web>,
    behaviour: Behaviour,
    random: StdRng,
    seen: Shared,
    /// Cancelled when the run ends: customers who only watch then stop.
    stop: CancellationToken,
}

impl Customer {
    async fn live(mut self) {
        let known = self.place().await;
        let mut last_status = None;
        if let Known::Accepted(order) = &known {
            if self.behaviour.repeat {
                self.repeat(order).await;
            }
            if let Some(after) = self.behaviour.cancel_after {
                sleep(after).await;
                self.cancel(order).await;
            }
            last_status = self.watch(order).await;
        }
        let story = Story { behaviour: self.behaviour.clone(), known, last_status };
        self.seen(|seen| seen.stories.push(story));
    }

    fn seen(&self, tell: impl FnOnce(&mut Seen)) {
        tell(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn violation(&self, what: String) {
        self.seen(|seen| seen.violations.push(what));
    }

    /// Sends a request to one of the front ends. `None` if there was no conclusive answer.
    async fn ask(
        &mut self,
        what: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Option<Answer> {
        let web = self.webs[self.random.random_range(0..self.webs.len())].clone();
        let answer = web.try_send(method, path, headers, body).await;
        let said = match &answer {
            Ok(answer) => answer.status.as_u16().to_string(),
            Err(error) if error.is_timeout() => "time-out".to_owned(),
            Err(_) => "no connection".to_owned(),
        };
        let replayed = answer.as_ref().is_ok_and(|answer| answer.headers.contains_key("idempotent-replayed"));
        self.seen(|seen| {
            *seen.answers.entry(format!("{what} {said}")).or_default() += 1;
            seen.replayed += usize::from(replayed);
        });
        answer.ok().filter(|answer| !answer.status.is_server_error())
    }

    async fn pause(&mut self) {
        sleep(PAUSE.mul_f64(self.random.random_range(0.3..1.7))).await;
    }

    async fn place(&mut self) -> Known {
        for _ in 0..TRIES {
            match self.post().await {
                // The request is still running, or the rate limit was hit: retry.
                Some(answer) if matches!(answer.status.as_u16(), 409 | 429) => {}
                Some(answer) if answer.status == StatusCode::ACCEPTED => return Known::Accepted(answer.accepted()),
                Some(answer) => return Known::Refused(answer.status),
                // After the end of the run nobody waits for an answer any more.
                None if self.behaviour.walk_away || self.stop.is_cancelled() => return Known::Unknown,
                None => {}
            }
            self.pause().await;
        }
        Known::Unknown
    }

    async fn post(&mut self) -> Option<Answer> {
        let key = self.behaviour.key.clone();
        let headers = [("idempotency-key", key.as_str()), ("content-type", "application/json")];
        self.ask("place", Method::POST, "/orders", &headers, Some(self.behaviour.body())).await
    }

    /// Repeats the request, which must return the same order.
    async fn repeat(&mut self, order: &Order) {
        if let Some(answer) = self.post().await
            && answer.status == StatusCode::ACCEPTED
            && answer.accepted().id != order.id
        {
            self.violation(format!("key {} made {} and then {}", self.behaviour.key, order.id, answer.accepted().id));
        }
    }

    async fn cancel(&mut self, order: &Order) {
        let (path, token) = (format!("/orders/{}/cancel", order.id), format!("Bearer {}", order.token));
        for _ in 0..TRIES {
            match self.ask("cancel", Method::POST, &path, &[("authorization", &token)], None).await {
                Some(answer) if answer.status == StatusCode::NOT_FOUND => {
                    return self.violation(format!("order {} was accepted and does not exist", order.id));
                }
                Some(answer) if answer.status != StatusCode::TOO_MANY_REQUESTS => return,
                _ => {}
            }
            self.pause().await;
        }
    }

    /// Polls the order until it is settled or takes too long, and checks that it never goes back.
    async fn watch(&mut self, order: &Order) -> Option<String> {
        let (path, token) = (format!("/orders/{}", order.id), format!("Bearer {}", order.token));
        let mut last: Option<(i64, String)> = None;
        for _ in 0..TRIES {
            if let Some(answer) = self.ask("look", Method::GET, &path, &[("authorization", &token)], None).await {
                if answer.status == StatusCode::NOT_FOUND {
                    self.violation(format!("order {} was accepted and does not exist", order.id));
                    break;
                }
                let version = answer.body["version"].as_i64();
                if let (Some(version), Some(status)) = (version, answer.body["status"].as_str()) {
                    if let Some((before, was)) = &last
                        && (version < *before || rank(status) < rank(was) || rank(was) == SETTLED && status != was)
                    {
                        self.violation(format!(
                            "order {} went back from {was} ({before}) to {status} ({version})",
                            order.id
                        ));
                    }
                    last = Some((version, status.to_owned()));
                    if rank(status) == SETTLED {
                        break;
                    }
                }
            }
            if self.stop.is_cancelled() {
                break;
            }
            self.pause().await;
        }
        last.map(|(_, status)| status)
    }
}

/// The rank of a final status.
pub const SETTLED: u8 = 9;

/// Returns the rank of a status; an order's rank never falls.
#[must_use]
pub fn rank(status: &str) -> u8 {
    match status {
        "pending" => 0,
        "paid" => 1,
        "reserved" => 2,
        "cancelling" => 3,
        _ => SETTLED,
    }
}
