//! A component without any running process for a while, whose last process died between commit and confirm.
//!
//! Its events wait in the outbox. Front ends and order service both publish `order.*`, so each does it for the other.
//! Events of every other service wait until a process of that service runs again. All other components continue.

use std::{collections::HashMap, time::Duration};

use orderflow_service::{events::EventKind, fault::CrashPoint, service::Role};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::{
    component::Component,
    credentials::Credentials,
    ledger::{Ledger, Period},
    program::{Program, Restart},
    world::World,
};

/// Within this time a busy process reaches its crash point.
const DIES_WITHIN: Duration = Duration::from_secs(60);

/// How many times a process may crash after publishing a retry instead of an event from the outbox.
const TRIES: usize = 4;

/// How long other components may take for work begun just before the absence ended: all retries together take 78 s.
const OTHERS: Duration = Duration::from_secs(90);

/// How often to check whether something has happened.
const LOOK: Duration = Duration::from_millis(200);

/// The planned absence of a component.
pub struct Absence<'w> {
    world: &'w World,
    component: Component,
    /// Where its last process crashes, and on which pass through that point.
    dies: (CrashPoint, u32),
}

impl<'w> Absence<'w> {
    /// Returns the absence of a service that orders wait for and that publishes events.
    pub fn of_worker(world: &'w World, which: usize) -> Self {
        let strikes = world.roster.services().filter(|one| one.role == Role::Step && !one.publishes.is_empty());
        let services: Vec<_> = strikes.map(|one| one.name).collect();
        Self::of(world, Component::Service(services[which % services.len()]), which)
    }

    /// Returns the absence of all front ends.
    pub fn of_front_ends(world: &'w World, which: usize) -> Self {
        Self::of(world, Component::FrontEnd, which)
    }

    fn of(world: &'w World, component: Component, which: usize) -> Self {
        let place = if which.is_multiple_of(2) { CrashPoint::AfterCommit } else { CrashPoint::AfterPublish };
        let time = u32::try_from(which % 5).unwrap_or_default() + 1;
        Self { world, component, dies: (place, time) }
    }

    /// Returns the absent component.
    pub fn component(&self) -> Component {
        self.component
    }

    /// Stops all of its processes but one, crashes that one between commit and confirm, and restarts all after this
    /// time. Returns the violations, a sentence each.
    pub async fn happen(&self, lasts: Duration) -> Vec<String> {
        let programs = self.world.programs_of(self.component);
        let mut wrong = Vec::new();
        for other in &programs[1..] {
            wrong.extend(other.leave().await.err());
        }
        let mut ledger = Ledger::open(&self.world.shop).await;
        let began = ledger.now().await;
        match self.die(programs[0], &mut ledger).await {
            Ok(left) => {
                sleep(lasts).await;
                let period = Period { from: began, to: ledger.now().await };
                wrong.extend(self.blocked(&mut ledger, period).await);
                wrong.extend(self.touched(&mut ledger, &left).await);
            }
            Err(why) => wrong.push(why),
        }
        for program in programs {
            program.come_back();
        }
        wrong
    }

    /// Crashes its last process. Returns its events in the outbox, each with the number of times a relay leased it.
    async fn die(&self, last: &Program, ledger: &mut Ledger<'_>) -> Result<HashMap<Uuid, String>, String> {
        let (place, time) = self.dies;
        // After a commit there may be nothing to publish.
        for place in [place].into_iter().chain([CrashPoint::AfterPublish; TRIES]) {
            last.restart_once(Restart::Crash(place, time)).await;
            if timeout(DIES_WITHIN, self.until_gone(last, ledger)).await.is_err() {
                let place = place.as_str();
                return Err(format!(
                    "{} did not reach {place} {time} times and crash within {DIES_WITHIN:?}",
                    last.name()
                ));
            }
            let left = ledger.in_outbox(&self.publishes()).await;
            if !left.is_empty() {
                println!("unconfirmed events of {}: {}", self.component, left.len());
                return Ok(left);
            }
        }
        Err(format!("{} crashed repeatedly without leaving an event in the outbox", last.name()))
    }

    /// Waits until its last process has ended and PostgreSQL has finished its statements: one may be deleting a row.
    async fn until_gone(&self, last: &Program, ledger: &mut Ledger<'_>) {
        let role = Credentials::role(self.component);
        while !last.is_away().await || ledger.sessions(&role).await > 0 {
            sleep(LOOK).await;
        }
    }

    /// Returns the event types that it publishes.
    fn publishes(&self) -> Vec<&'static str> {
        match self.component {
            Component::FrontEnd => {
                [EventKind::OrderCreated, EventKind::OrderCancelRequested].map(EventKind::routing_key).to_vec()
            }
            Component::Service(name) => {
                let service = self.world.roster.services().find(|service| service.name == name);
                service.map_or(Vec::new(), |service| service.publishes.iter().map(|event| event.as_str()).collect())
            }
        }
    }

    /// Returns the event types that no other component publishes.
    fn waiting(&self) -> Vec<&'static str> {
        match self.component {
            Component::FrontEnd | Component::Service("order") => Vec::new(),
            Component::Service(_) => self.publishes(),
        }
    }

    /// Waits until this period's events are published, and applied by all running services, unless they wait for this
    /// component. Returns a violation if that takes too long.
    async fn blocked(&self, ledger: &mut Ledger<'_>, period: Period) -> Option<String> {
        let absent = match self.component {
            Component::FrontEnd => None,
            Component::Service(name) => Some(name),
        };
        let deadline = Instant::now() + OTHERS;
        loop {
            let (unpublished, unapplied) = ledger.blocked(&self.world.roster, absent, &self.waiting(), period).await;
            if (unpublished, unapplied) == (0, 0) {
                return None;
            }
            if Instant::now() > deadline {
                return Some(format!(
                    "in the absence of {}, others left {unpublished} events unpublished and {unapplied} unapplied for {OTHERS:?}",
                    self.component
                ));
            }
            sleep(LOOK).await;
        }
    }

    /// Returns a violation if another process published, leased or deleted the events that wait for it.
    async fn touched(&self, ledger: &mut Ledger<'_>, left: &HashMap<Uuid, String>) -> Option<String> {
        let waiting = self.waiting();
        if waiting.is_empty() {
            return None;
        }
        let now = ledger.in_outbox(&waiting).await;
        let touched = left.iter().filter(|(id, attempts)| now.get(*id) != Some(*attempts)).count();
        (touched > 0).then(|| {
            format!("{touched} of {} events of {} were touched by others in its absence", left.len(), self.component)
        })
    }
}
