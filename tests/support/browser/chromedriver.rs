//! Debian's chromedriver as a child of the test, and the clean-up of every process that it started.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the driver may take to start, and its processes to end after it was killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A driver with its own browsers; dropping it ends all of them.
#[derive(Debug)]
pub struct Chromedriver {
    process: Child,
    profile: TempDir,
    /// The URL at which it answers.
    pub root: String,
}

impl Chromedriver {
    /// Starts it on a free port of 127.0.0.1 and returns once it answers there.
    ///
    /// # Panics
    /// Panics if it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let profile = TempDir::with_prefix("orderflow-browser-").expect("a directory");
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            // Where the browser puts files outside its profile.
            .env("TMPDIR", profile.path())
            .env("XDG_CONFIG_HOME", profile.path())
            .env("XDG_CACHE_HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "chromedriver cannot be started: {error}. `make test` installs it on Debian; elsewhere install \
                     Chromium and the chromedriver of the same version so that both are on the PATH"
                )
            });
        let said = process.stdout.take().expect("its standard output is piped");
        let mut driver = Self { process, profile, root: String::new() };
        driver.root = format!("http://127.0.0.1:{}", port_in(said));
        driver
    }

    /// Returns the WebDriver capabilities: headless, without requests to the outside world, with its profile in the
    /// driver's directory.
    #[must_use]
    pub fn capabilities(&self, name: &str) -> Value {
        let profile = self.profile.path().join(name);
        let mut arguments = vec![
            "--headless=new".to_owned(),
            format!("--user-data-dir={}", profile.display()),
            // In containers /dev/shm is often 64 MB.
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-extensions".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--no-first-run".to_owned(),
            "--no-default-browser-check".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--force-color-profile=srgb".to_owned(),
            "--lang=en-GB".to_owned(),
            // A request to any other host fails immediately and is reported in the console.
            "--host-resolver-rules=MAP shop.lan 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
                .to_owned(),
        ];
        if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            // Chromium refuses to start for root with its sandbox.
            arguments.push("--no-sandbox".to_owned());
        }
        json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "timeouts": { "script": 60_000, "pageLoad": 60_000, "implicit": 0 },
        })
    }
}

/// Returns the port that the driver reports on its output. Later output is read and discarded: a full pipe would block
/// the driver.
fn port_in(said: ChildStdout) -> u16 {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            let port = line.split("successfully on port ").nth(1);
            if let Some(port) = port.and_then(|rest| rest.trim_end_matches('.').parse::<u16>().ok()) {
                // The receiver may have given up.
                let _ = sender.send(port);
            }
        }
    });
    receiver.recv_timeout(PATIENCE).expect("chromedriver reports its port")
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut left = self.processes();
        // The driver first, so that it cannot start anything more.
        drop(self.process.kill());
        drop(self.process.wait());
        while !left.is_empty() && Instant::now() < deadline {
            for process in &left {
                let id = i32::try_from(*process).expect("a process id");
                // It may have ended already.
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
            thread::yield_now();
            let named = self.named();
            left.retain(|process| living_with_parent(&proc(*process)).is_some() && !named.contains(process));
            left.extend(named);
        }
    }
}

impl Chromedriver {
    /// Returns the driver, and the living processes that descend from it or name its directory.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let all: Vec<(u32, u32)> =
            running().into_iter().filter_map(|id| Some((id, living_with_parent(&proc(id))?))).collect();
        let mut found = self.named();
        found.push(self.process.id());
        loop {
            // A parent can have a higher id than its child, so repeat until no more are found.
            let child = |(id, parent): &&(u32, u32)| found.contains(parent) && !found.contains(id);
            let more: Vec<u32> = all.iter().filter(child).map(|(id, _)| *id).collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// Returns the living processes with the driver's directory in their command line: Chromium's crash handler leaves
    /// its parent.
    fn named(&self) -> Vec<u32> {
        let directory = self.profile.path().as_os_str().as_encoded_bytes();
        let named = |id: &u32| {
            let command = fs::read(proc(*id).join("cmdline")).unwrap_or_default();
            command.windows(directory.len()).any(|part| part == directory) && living_with_parent(&proc(*id)).is_some()
        };
        running().into_iter().filter(named).collect()
    }
}

fn running() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn proc(id: u32) -> PathBuf {
    Path::new("/proc").join(id.to_string())
}

/// Returns the parent of a running process; `None` if it has ended, even while it is a zombie.
fn living_with_parent(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("stat")).ok()?;
    // The name may contain spaces and brackets.
    let (_, rest) = status.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" { None } else { fields.next()?.parse().ok() }
}
