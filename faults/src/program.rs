//! One of our programs, kept running: whatever ends it, it is started again, as a service manager would.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orderflow::fault::CrashPoint;
use orderflow_tests::program_path;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
    task::JoinHandle,
};

/// How soon an end is noticed.
const LOOK: Duration = Duration::from_millis(100);

/// How long a program may take to end when it is asked to: the contract's 30 s.
const STOP: Duration = Duration::from_secs(30);

/// What is started, and how.
struct Start {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    log: PathBuf,
    process: Mutex<Option<Child>>,
    crashes: AtomicU32,
}

/// A program that is kept running until it is stopped.
pub struct Program {
    start: Arc<Start>,
    keeper: JoinHandle<()>,
}

impl Program {
    /// Starts it with exactly these settings; what it says goes to the end of `log`.
    #[must_use]
    pub fn keep(name: &str, program: &str, arguments: &[&str], settings: Vec<(String, String)>, log: PathBuf) -> Self {
        let start = Arc::new(Start {
            name: name.to_owned(),
            program: program_path(program),
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            settings,
            log,
            process: Mutex::new(None),
            crashes: AtomicU32::new(0),
        });
        let keeper = tokio::spawn(keep_running(Arc::clone(&start)));
        Self { start, keeper }
    }

    /// How often it ended at a crash point.
    #[must_use]
    pub fn crashes(&self) -> u32 {
        self.start.crashes.load(Ordering::SeqCst)
    }

    /// Sends it a signal, if it runs at this moment.
    pub async fn signal(&self, signal: Signal) {
        if let Some(id) = self.start.process.lock().await.as_ref().and_then(Child::id) {
            let _ = kill(Pid::from_raw(i32::try_from(id).expect("a process id")), signal);
        }
    }

    /// Starts it anew so that it ends at this place, at this time that it comes there.
    pub async fn arm(&self, point: CrashPoint, time: u32) {
        let mut process = self.start.process.lock().await;
        if let Some(mut running) = process.take() {
            drop(running.kill().await);
        }
        *process = Some(self.start.spawn(Some(format!("{}:{time}", point.as_str()))));
    }

    /// Asks it to end. `Err` says what was wrong with how it ended.
    pub async fn stop(self) -> Result<(), String> {
        self.keeper.abort();
        let Some(mut process) = self.start.process.lock().await.take() else { return Ok(()) };
        if let Some(id) = process.id() {
            let _ = kill(Pid::from_raw(i32::try_from(id).expect("a process id")), Signal::SIGTERM);
        }
        match tokio::time::timeout(STOP, process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(status) => Err(format!("{} ended with {status:?} when it was asked to end", self.start.name)),
            Err(_) => Err(format!("{} did not end within {STOP:?}", self.start.name)),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep_running(start: Arc<Start>) {
    loop {
        {
            let mut process = start.process.lock().await;
            match process.as_mut().map(Child::try_wait) {
                Some(Ok(None)) => {}
                ended => {
                    if let Some(Ok(Some(status))) = ended
                        && status.signal() == Some(Signal::SIGABRT as i32)
                    {
                        start.crashes.fetch_add(1, Ordering::SeqCst);
                    }
                    *process = Some(start.spawn(None));
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Start {
    fn spawn(&self, crash: Option<String>) -> Child {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log of our own");
        Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.settings.iter().cloned())
            .envs(crash.map(|crash| ("ORDERFLOW_CRASH", crash)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.name))
    }
}
