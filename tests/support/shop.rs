//! A test's own shop.

mod closing;
mod database;
mod statements;
mod waiting;

use std::path::PathBuf;

use diesel_async::AsyncConnection as _;
use orderflow::broker::{Management, Topology};
use orderflow_service::{config::AdminConfig, store::Connection};
use orderflow_worker::roster;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

use crate::{Child, Probe, Servers, Stripe, Web, plaintext, until};
pub use closing::Left;

/// Short enough for a test to wait for a retry, long enough for the retry to be observable.
const RETRY_DELAYS: &str = "200ms,1s";

/// For tests in which many attempts fail and the retries must not be exhausted. As many as the default: more than the
/// five unanswered calls after which an unavailable provider costs no further attempts.
const MANY_RETRY_DELAYS: &str = "200ms,1s,2s,4s,8s,16s";

/// A test's own shop: database, virtual host, directory and processes.
///
/// [`Shop::close`] checks that nothing is left over. Dropping the shop without it (a failing test) still removes
/// everything.
pub struct Shop {
    /// The shared servers.
    pub servers: Servers,
    /// The shop's settings for `orderflow topology`.
    pub admin: AdminConfig,
    name: String,
    /// Shared by all queries: they are frequent, and connecting costs the server more than most of them.
    connection: Mutex<Connection>,
    directory: TempDir,
    web: Vec<Child>,
    workers: Vec<Child>,
    retry_delays: &'static str,
    stripe: Option<Stripe>,
}

impl Shop {
    /// Creates the database and the virtual host, and sets both up as an operator would.
    ///
    /// # Panics
    /// Panics if the set-up fails.
    pub async fn open() -> Self {
        Self::open_on(Servers::from_env(), RETRY_DELAYS).await
    }

    /// Like [`Shop::open`], but with enough retries for a test in which a provider is unavailable to a few messages:
    /// they could be dead-lettered before the circuit breaker opens.
    pub async fn open_with_many_retries() -> Self {
        Self::open_on(Servers::from_env(), MANY_RETRY_DELAYS).await
    }

    /// Like [`Shop::open_with_many_retries`], with a Stripe-like payment provider instead of the simulated one.
    pub async fn open_with_stripe() -> Self {
        let mut shop = Self::open_with_many_retries().await;
        shop.stripe = Some(Stripe::start().await);
        shop
    }

    /// Like [`Shop::open`], but with a database only, for tests that start nothing and do not close the shop: RabbitMQ
    /// creates and deletes about forty quorum queues for each virtual host.
    ///
    /// # Panics
    /// Panics if the set-up fails.
    pub async fn open_without_queues() -> Self {
        Self::with_database(Servers::from_env(), RETRY_DELAYS).await
    }

    /// Like [`Shop::open`], but on these servers and with these retry delays.
    ///
    /// # Panics
    /// Panics if the set-up fails.
    pub async fn open_on(servers: Servers, retry_delays: &'static str) -> Self {
        let shop = Self::with_database(servers, retry_delays).await;
        let topology = Topology::new(roster(), shop.admin.retry_delays.as_slice());
        let management = Management::new(shop.admin.clone()).expect("a client");
        management.apply(roster(), &topology).await.expect("the broker can be set up");
        shop
    }

    async fn with_database(servers: Servers, retry_delays: &'static str) -> Self {
        let name = format!("test_{}", Uuid::now_v7().simple());
        database::create(&servers, &name).await;
        let connection = Connection::establish(servers.database(&name).as_str()).await.expect("it can be reached");
        let admin = servers.admin(&name, retry_delays);
        let directory = TempDir::new_in(memory_or_disk()).expect("a directory");
        Self {
            servers,
            admin,
            name,
            connection: Mutex::new(connection),
            directory,
            web: Vec::new(),
            workers: Vec::new(),
            retry_delays,
            stripe: None,
        }
    }

    /// Returns the Stripe-like payment provider of a shop opened with [`Shop::open_with_stripe`].
    ///
    /// # Panics
    /// Panics if the shop was opened without it.
    pub fn stripe(&mut self) -> &mut Stripe {
        self.stripe.as_mut().expect("the shop was opened with it")
    }

    /// Returns the name of both the database and the virtual host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the URL of the shop's database, as its owner.
    #[must_use]
    pub fn database_url(&self) -> Url {
        self.servers.database(&self.name)
    }

    /// Returns the URL of the shop's virtual host, as one of our users.
    #[must_use]
    pub fn broker_url(&self, user: &str) -> Url {
        let password = self.servers.password(user);
        self.servers.broker(Some((user, &password)), &self.name)
    }

    /// The directory to which its mails are written.
    #[must_use]
    pub fn mail_directory(&self) -> PathBuf {
        self.directory.path().join("mail")
    }

    /// Returns the settings of the shop's processes; of several values for one name, the last wins.
    #[must_use]
    pub fn settings(&self, user: &str) -> Vec<(String, String)> {
        [
            ("DATABASE_URL", self.database_url().to_string()),
            ("AMQP_URL", self.broker_url(user).to_string()),
            ("RETRY_DELAYS", self.retry_delays.to_owned()),
            ("LISTEN", "127.0.0.1:0".to_owned()),
            ("OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("WORKER_LISTEN", "127.0.0.1:0".to_owned()),
            ("TOKEN_SECRET", "the secret of every test has no comma".to_owned()),
            ("MAIL", format!("file:{}", self.mail_directory().display())),
            ("MAIL_FROM", "Test shop <shop@example.org>".to_owned()),
            // Tests place hundreds of orders from one IP address for one mail address; tests of the limits set their
            // own.
            ("RATE_LIMIT", "0".to_owned()),
            ("MAIL_LIMIT", "0".to_owned()),
            ("RUST_LOG", "info,orderflow=debug,orderflow_worker=debug,lapin=warn".to_owned()),
            // Colour codes would separate a field's name from its value in the log.
            ("NO_COLOR", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .chain(self.stripe.as_ref().map(Stripe::settings).unwrap_or_default())
        .collect()
    }

    /// Returns the settings for operators' commands.
    #[must_use]
    pub fn operator_settings(&self) -> Vec<(String, String)> {
        [
            ("DATABASE_URL", self.servers.database(&self.name).to_string()),
            ("AMQP_ADMIN_URL", self.servers.broker(None, &self.name).to_string()),
            ("RABBITMQ_MANAGEMENT_URL", self.servers.management_url.to_string()),
            ("RETRY_DELAYS", self.retry_delays.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Starts a front end and waits until it is ready.
    pub async fn start_web(&mut self) -> Web {
        self.start_web_with(&[]).await
    }

    /// Like [`Shop::start_web`], but with additional settings.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn start_web_with(&mut self, settings: &[(&str, &str)]) -> Web {
        let mut all = self.settings("orderflow-web");
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut child = Child::start("orderflow", &["serve"], &all);
        let web = Web::new(child.address().await);
        self.web.push(child);
        until("the front end is ready", async || {
            let answer = web.get("/readyz", &[]).await;
            let ready = answer.status.is_success() && answer.body["broker"] == "ok";
            if ready { Ok(()) } else { Err(answer) }
        })
        .await;
        web
    }

    /// Starts a front end whose settings give it a certificate for `localhost`, and returns its HTTPS address once it
    /// listens.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn start_encrypted_web(&mut self, settings: &[(&str, &str)]) -> Url {
        let mut all = self.settings("orderflow-web");
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut child = Child::start("orderflow", &["serve"], &all);
        let port = child.address().await.port();
        self.web.push(child);
        format!("https://localhost:{port}/").parse().expect("a URL")
    }

    /// Starts a worker for these queues (all if the list is empty) and waits until it consumes them.
    pub async fn start_worker(&mut self, queues: &[&str]) {
        self.start_worker_with(queues, &[]).await;
    }

    /// Like [`Shop::start_worker`], but with additional settings. Queues of several services, but not of all, need a
    /// worker for each service.
    ///
    /// # Panics
    /// Panics if it does not start, or there is no such queue.
    pub async fn start_worker_with(&mut self, queues: &[&str], settings: &[(&str, &str)]) {
        let patterns: Vec<String> = queues.iter().map(ToString::to_string).collect();
        if roster().select_for_process(&patterns).is_ok() {
            return self.start_one_worker(&patterns, settings).await;
        }
        let chosen = roster().select(&patterns).unwrap_or_else(|error| panic!("{error}"));
        for of_service in chosen.chunk_by(|one, next| one.service() == next.service()) {
            let queues: Vec<String> = of_service.iter().map(|one| one.queue()).collect();
            self.start_one_worker(&queues, settings).await;
        }
    }

    async fn start_one_worker(&mut self, queues: &[String], settings: &[(&str, &str)]) {
        let arguments: Vec<&str> = queues.iter().flat_map(|queue| ["--queue", queue]).collect();
        self.start_as_worker("orderflow-worker", &arguments, settings).await;
    }

    /// Like [`Shop::start_worker_with`], for every queue except these, however many services there are.
    ///
    /// # Panics
    /// Panics if it does not start, or one of these queues does not exist.
    pub async fn start_worker_without(&mut self, left_out: &[&str], settings: &[(&str, &str)]) {
        let patterns: Vec<String> = left_out.iter().map(ToString::to_string).collect();
        let left_out = roster().select(&patterns).unwrap_or_else(|error| panic!("{error}"));
        let others = roster().subscriptions().iter().filter(|one| !left_out.contains(one));
        let queues: Vec<String> = others.map(|one| one.queue()).collect();
        let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
        self.start_worker_with(&queues, settings).await;
    }

    /// Starts a worker for all queues whose handler for payment.order-created panics in this step (`prepare`, `act`,
    /// `record`) for this order, this many times.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub async fn start_faulty_worker(&mut self, step: &str, order: Uuid, times: u32) {
        let (order, times) = (order.to_string(), times.to_string());
        let fault = [("FAULT_STEP", step), ("FAULT_ORDER", order.as_str()), ("FAULT_TIMES", times.as_str())];
        self.start_as_worker("faulty-worker", &[], &fault).await;
    }

    async fn start_as_worker(&mut self, program: &str, arguments: &[&str], settings: &[(&str, &str)]) {
        let mut all = self.settings("orderflow-worker");
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut child = Child::start(program, arguments, &all);
        let health = Web::new(child.address().await);
        until("the worker is ready", async || {
            let answer = health.get("/readyz", &[]).await;
            if answer.status.is_success() { Ok(()) } else { Err(answer) }
        })
        .await;
        self.workers.push(child);
    }

    /// Returns the running workers, in the order of their start.
    #[must_use]
    pub fn workers(&mut self) -> &mut Vec<Child> {
        &mut self.workers
    }

    /// Returns the running front ends, in the order of their start.
    #[must_use]
    pub fn webs(&mut self) -> &mut Vec<Child> {
        &mut self.web
    }

    /// Returns every running process of the shop.
    #[must_use]
    pub fn all_children(&self) -> Vec<&Child> {
        self.web.iter().chain(&self.workers).collect()
    }

    /// Connects to the shop's virtual host as an administrator.
    pub async fn probe(&self) -> Probe {
        Probe::connect(&self.servers.broker(None, &self.name)).await
    }

    /// Calls the broker's management API as an administrator. `path` is what follows `/api/`, with `{vhost}` for the
    /// virtual host.
    ///
    /// # Panics
    /// Panics if the answer is not a success.
    pub async fn manage(&self, method: Method, path: &str) -> Value {
        self.manage_with(method, path, &Value::Null).await
    }

    /// Like [`Shop::manage`], with a body.
    ///
    /// # Panics
    /// Panics if the answer is not a success.
    pub async fn manage_with(&self, method: Method, path: &str, body: &Value) -> Value {
        let administrator = (self.admin.user.as_str(), self.admin.password.expose_secret());
        let (status, answer) = self.manage_as(administrator, method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// Calls the broker's management API as this user, and returns the answer, whatever its status.
    ///
    /// # Panics
    /// Panics if it does not answer.
    pub async fn manage_as(
        &self,
        (user, password): (&str, &str),
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let url = format!("{}api/{}", self.servers.management_url, path.replace("{vhost}", &self.name));
        let client = plaintext().build().expect("a client");
        let mut request = client.request(method, url).basic_auth(user, Some(password));
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.expect("the management API answers");
        let (status, body) = (response.status(), response.text().await.expect("it has a body"));
        (status, serde_json::from_str(&body).unwrap_or_default())
    }
}

/// Returns the directory where thousands of small files cost the least: the tests do not measure the disk.
fn memory_or_disk() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}
