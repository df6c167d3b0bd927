//! The upgrade from the version that CHANGELOG.md names, with one role and one user for all, to a role and a user for
//! each process, and back. Orders flow throughout.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use orderflow_tests::{Child, Shop, VISA, Web, roles, run, run_path, until};
use reqwest::Method;
use tokio::{sync::RwLock, task::JoinHandle};

use crate::{
    commands::ended,
    database_setup::{EMPTY, execute},
    parts::{start_console, start_shop, start_workers, until_ready},
    rights,
    side_by_side::{first_tolerant, nothing_is_wrong},
};

/// Customers who place an order every 50 ms at the current front end.
struct Customers {
    front_end: Arc<RwLock<Web>>,
    placed: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    placing: JoinHandle<()>,
}

impl Customers {
    fn at(web: Web) -> Self {
        let (front_end, placed, stop) = (Arc::new(RwLock::new(web)), Arc::<AtomicUsize>::default(), Arc::default());
        let (at, count, stopped) = (Arc::clone(&front_end), Arc::clone(&placed), Arc::<AtomicBool>::clone(&stop));
        let placing = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                // Held while the order is placed, so that a front end stops only between two orders.
                at.read().await.order("MUG-BLUE", 1, VISA).await;
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { front_end, placed, stop, placing }
    }

    async fn go_to(&self, web: Web) {
        *self.front_end.write().await = web;
    }

    /// Waits until 20 orders placed from now on have shipped.
    async fn see_orders_ship(&self, shop: &Shop) {
        let wanted = i64::try_from(self.placed.load(Ordering::Relaxed)).expect("not that many") + 20;
        until("20 more orders have shipped", async || {
            let shipped = shop.number("SELECT count(*) FROM orders.orders WHERE status = 'shipped'").await;
            if shipped >= wanted { Ok(()) } else { Err(shipped) }
        })
        .await;
    }

    /// Stops the customers and returns the number of accepted orders.
    async fn leave(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.placing.await.expect("every order was accepted");
        i64::try_from(self.placed.load(Ordering::Relaxed)).expect("not that many")
    }
}

/// Removes the set-up of the current version, and sets the shop up with the earlier version's commands.
async fn set_up_by(shop: &Shop, programs: &Path) {
    execute(shop, EMPTY).await;
    shop.manage(Method::DELETE, "vhosts/{vhost}").await;
    let program = programs.join("orderflow");
    ended(&run_path(&program, &["migrate"], &shop.operator_settings()).await, 0, &[]);
    let passwords = [("AMQP_WEB_PASSWORD", "orderflow-web"), ("AMQP_WORKER_PASSWORD", "orderflow-worker")];
    let mut settings = shop.operator_settings();
    settings.extend(passwords.map(|(name, user)| (name.to_owned(), shop.servers.password(user))));
    ended(&run_path(&program, &["topology", "apply"], &settings).await, 0, &[]);
}

async fn start_earlier(shop: &Shop, programs: &Path) -> (Child, Web, Child) {
    let mut front_end = Child::start_path(&programs.join("orderflow"), &["serve"], &shop.settings("orderflow-web"));
    let web = Web::new(front_end.address().await);
    until_ready(&web).await;
    let worker = programs.join("orderflow-worker");
    let mut worker = Child::start_path(&worker, &[], &shop.settings("orderflow-worker"));
    until_ready(&Web::new(worker.address().await)).await;
    (front_end, web, worker)
}

async fn stop_all(processes: &mut Vec<Child>) {
    for process in processes.drain(..) {
        process.stop().await;
    }
}

/// Narrows the rights and waits for this exit status: RabbitMQ lists connections a few seconds late.
async fn until_narrowing_ends_with(shop: &Shop, status: i32) {
    until(&format!("the narrowing exits with {status}"), async || {
        let tried = run("orderflow", &["rights", "narrow"], &shop.operator_settings()).await;
        if tried.code == Some(status) { Ok(()) } else { Err(tried) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a build of an earlier version: only in the full suite"]
async fn shop_moves_to_separate_roles_and_users_and_back_while_orders_flow() {
    let programs = first_tolerant();
    let mut shop = Shop::open().await;
    set_up_by(&shop, &programs).await;
    let (front_end, web, worker) = start_earlier(&shop, &programs).await;
    let customers = Customers::at(web);
    customers.see_orders_ship(&shop).await;

    // Expand: the running programs lose nothing.
    ended(&run("orderflow", &["migrate"], &shop.operator_settings()).await, 0, &[]);
    roles::make(&shop, &[]).await;
    rights::make_users(&shop).await;
    customers.see_orders_ship(&shop).await;

    // Roll, the front end first. While an older front end is connected, nothing is narrowed.
    let (web, _) = start_shop(&mut shop).await;
    start_console(&mut shop).await;
    customers.go_to(web).await;
    until_narrowing_ends_with(&shop, 1).await;
    front_end.stop().await;
    customers.see_orders_ship(&shop).await;
    start_workers(&mut shop).await;
    worker.stop().await;
    customers.see_orders_ship(&shop).await;

    // Narrow.
    until_narrowing_ends_with(&shop, 0).await;
    customers.see_orders_ship(&shop).await;
    let seen = run("orderflow", &["doctor"], &shop.operator_settings()).await;
    assert!(seen.out.contains("orderflow-web can publish only order.*"), "{seen:?}");

    // And back.
    ended(&run("orderflow", &["rights", "narrow", "--undo"], &shop.operator_settings()).await, 0, &[]);
    let (front_end, web, worker) = start_earlier(&shop, &programs).await;
    customers.go_to(web).await;
    stop_all(shop.webs()).await;
    stop_all(shop.workers()).await;
    customers.see_orders_ship(&shop).await;

    let accepted = customers.leave().await;
    shop.until_orders("shipped", accepted).await;
    nothing_is_wrong(&shop).await;
    front_end.stop().await;
    worker.stop().await;
    roles::close(shop).await;
}
