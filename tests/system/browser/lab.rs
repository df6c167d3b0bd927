//! The page of `make demo LAB=1`, on which a visitor kills the demo's processes: scripts/lab/.

use std::{
    env, fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orderflow_tests::{Browser, Child, PHONE, Screen, Shop, Web, own::free_address, plaintext, program_path};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use super::start_web;

/// The narrowest phone that the page is made for.
const NARROW: Screen = Screen { width: 360, ..PHONE };

/// What demo.sh gives the lab: a directory with the pid file of each worker, and a mark for the demo's processes.
struct Demo {
    directory: TempDir,
}

impl Demo {
    fn new() -> Self {
        Self { directory: TempDir::with_prefix("orderflow-lab-").expect("a directory") }
    }

    fn path(&self) -> String {
        self.directory.path().display().to_string()
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.path().join("payment.pid")
    }

    /// Starts the page's server for these workers, and returns it with its URL.
    async fn start_lab(&self, shop: &str, workers: &[&str], settings: &[(String, String)]) -> (Child, String) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/lab/lab.py").display().to_string();
        let orderflow = program_path("orderflow");
        let programs = orderflow.parent().expect("a folder").display().to_string();
        let processes = self.path();
        let mut arguments = vec!["-B", script.as_str(), "--listen", "127.0.0.1:0", "--shop", shop];
        arguments.extend(["--programs", programs.as_str(), "--processes", processes.as_str()]);
        arguments.extend(workers);
        let mut all = settings.to_vec();
        all.push(("ORDERFLOW_INSTANCE".to_owned(), self.path()));
        all.push(("PATH".to_owned(), env::var("PATH").expect("there is one")));
        let mut server = Child::start_path(Path::new("python3"), &arguments, &all);
        let root = format!("http://{}", server.address().await);
        (server, root)
    }
}

impl Drop for Demo {
    /// Kills the worker that the lab has started: it is not our child, so if the test fails, nothing else would.
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.pid_file()).ok().and_then(|pid| pid.trim().parse::<i32>().ok());
        let Some(pid) = pid else { return };
        let (environment, mark) = (fs::read(format!("/proc/{pid}/environ")).unwrap_or_default(), self.path());
        if environment.windows(mark.len()).any(|part| part == mark.as_bytes()) {
            // It may have ended already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Starts every worker, payment as the demo's, and returns that one.
async fn start_workers(shop: &mut Shop, demo: &Demo) -> Child {
    shop.start_worker_without(&["payment.*"], &[]).await;
    let (mark, listen) = (demo.path(), free_address().to_string());
    let settings = [("ORDERFLOW_INSTANCE", mark.as_str()), ("WORKER_LISTEN", listen.as_str())];
    shop.start_worker_with(&["payment.*"], &settings).await;
    let payment = shop.workers().pop().expect("the worker started last");
    fs::write(demo.pid_file(), format!("{}\n", payment.id())).expect("it can be written");
    payment
}

/// Returns where the list of processes begins, in pixels from the top of the page.
async fn top_of_processes(browser: &Browser) -> Value {
    let list = "document.getElementById('processes').getBoundingClientRect()";
    browser.run(&format!("return Math.round({list}.top + window.scrollY)")).await
}

/// Clicks a button of the page. WebDriver scrolls upwards only until a button is in the window, where the notice may
/// cover it; from the top it scrolls downwards.
async fn press(browser: &Browser, name: &str) {
    browser.run("window.scrollTo(0, 0)").await;
    browser.click("button", name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitor_kills_a_worker_and_the_order_waits_until_it_is_started_again() {
    let demo = Demo::new();
    let mut shop = Shop::open().await;
    let web = start_web(&mut shop, &[]).await;
    let mut payment = start_workers(&mut shop, &demo).await;
    let (_lab, root) = demo.start_lab(&web.root, &["payment"], &shop.operator_settings()).await;

    let browser = Browser::open(&root, NARROW).await;
    browser.find("button", "Kill: payment").await;
    let top = top_of_processes(&browser).await;
    press(&browser, "Kill: payment").await;
    assert_eq!(payment.ended().await.signal(), Some(Signal::SIGKILL as i32));
    browser.until_text("payment: killed with SIGKILL.").await;
    assert_eq!(top_of_processes(&browser).await, top, "the notice moves no button");
    press(&browser, "Order with a card that works").await;
    browser.until_text("Waits for payment: its worker is killed.").await;
    press(&browser, "Why? Order").await;
    let explained = "const output = document.querySelector('.order pre');
        const { top, bottom } = output.getBoundingClientRect();
        return output.innerText.includes('payment.order-created') && top < window.innerHeight && bottom > 0";
    browser.until_true("the order's card explains, in view, what it waits for", explained).await;
    browser.axe().await;

    press(&browser, "Start again: payment").await;
    let shipped = "return document.querySelector('[data-status=shipped]') !== null";
    browser.until_true("the order ships", shipped).await;
    press(&browser, "Prove it").await;
    browser.until_text("all holds").await;
    browser.until_text("Accepted on this page: 1 = 1 shipped + 0 declined").await;
    browser.until_text("orderflow audit ended with exit status 0.").await;
    browser.set(NARROW.dark()).await;
    browser.axe().await;
    assert_eq!(browser.run("return document.documentElement.scrollWidth").await, NARROW.width, "nothing is cut off");

    press(&browser, "Kill: payment").await;
    browser.until_text("payment: killed with SIGKILL.").await;
    browser.no_errors().await;
    shop.close().await;
}

async fn act(lab: &Web, headers: &[(&str, &str)]) -> StatusCode {
    lab.send(Method::POST, "/act", headers, Some(br#"{"act":"none"}"#.to_vec())).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn lab_acts_only_for_its_own_page() {
    let demo = Demo::new();
    let (_lab, root) = demo.start_lab("http://127.0.0.1:9", &[], &[]).await;
    let address = root.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("an address");
    let lab = Web::new(address);
    let page = plaintext()
        .build()
        .expect("a client")
        .get(&root)
        .send()
        .await
        .expect("it answers")
        .text()
        .await
        .expect("a page");
    let (_, rest) = page.split_once("name=\"lab-token\" content=\"").expect("the page has a token");
    let (token, _) = rest.split_once('"').expect("an end");

    let (own, token) = (("origin", root.as_str()), ("x-lab-token", token));
    assert_eq!(act(&lab, &[own, token]).await, StatusCode::CONFLICT, "its own page: there is no such button");
    for foreign in ["http://shop.example", "null", "http://127.0.0.1"] {
        assert_eq!(act(&lab, &[("origin", foreign), token]).await, StatusCode::FORBIDDEN, "{foreign}");
    }
    assert_eq!(act(&lab, &[token]).await, StatusCode::FORBIDDEN, "no origin");
    assert_eq!(act(&lab, &[own]).await, StatusCode::FORBIDDEN, "no token");
    assert_eq!(act(&lab, &[own, ("x-lab-token", "0")]).await, StatusCode::FORBIDDEN, "another run's token");
    let renamed = lab.get("/state", &[("host", "shop.example")]).await;
    assert_eq!(renamed.status, StatusCode::FORBIDDEN, "another site's name that leads to this machine");
}
