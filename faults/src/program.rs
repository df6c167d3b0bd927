//! One of our programs, kept running: it is restarted whenever it ends, as a service manager would do.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use orderflow_service::fault::CrashPoint;
use orderflow_tests::memory;
use tokio::{
    process::{Child, Command},
    sync::Mutex,
    task::JoinHandle,
};

use crate::component::Component;

/// How often to check whether a program has ended.
const LOOK: Duration = Duration::from_millis(100);

/// How long a program may take to end after SIGTERM: the promised 30 s.
const STOP: Duration = Duration::from_secs(30);

/// How a program is started.
#[derive(Debug, Clone, Copy)]
pub enum Restart {
    /// Normally.
    Plain,
    /// To crash at this point, on this pass through it.
    Crash(CrashPoint, u32),
    /// With a clock offset in libfaketime's notation: `+1h`.
    Clock(&'static str),
}

impl Restart {
    fn settings(self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Plain => Vec::new(),
            Self::Crash(point, time) => vec![("ORDERFLOW_CRASH", format!("{}:{time}", point.as_str()).into())],
            Self::Clock(off) => vec![
                ("LD_PRELOAD", false_clock().expect("checked before").into()),
                ("FAKETIME", off.into()),
                // The monotonic clock stays correct: only the time of day is false.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ],
        }
    }
}

/// Returns the path of libfaketime, if it is installed.
pub fn false_clock() -> Option<PathBuf> {
    let architectures = std::fs::read_dir("/usr/lib").ok()?;
    let libraries = architectures.filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")));
    libraries.into_iter().find(|library| library.exists())
}

/// A program and how to start it.
struct Start {
    name: String,
    component: Component,
    program: PathBuf,
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    log: PathBuf,
    process: Mutex<Option<Child>>,
    /// Whether it stays stopped once it has ended.
    away: AtomicBool,
    starts: AtomicU32,
    crashes: AtomicU32,
}

/// A program that is kept running until it is stopped.
pub struct Program {
    start: Arc<Start>,
    keeper: JoinHandle<()>,
}

impl Program {
    /// Starts it with exactly these settings; its output is appended to `log`.
    #[must_use]
    pub fn keep(
        name: &str,
        component: Component,
        program: PathBuf,
        arguments: &[&str],
        settings: Vec<(String, String)>,
        log: PathBuf,
    ) -> Self {
        let start = Arc::new(Start {
            name: name.to_owned(),
            component,
            program,
            arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
            settings,
            log,
            process: Mutex::new(None),
            away: AtomicBool::new(false),
            starts: AtomicU32::new(0),
            crashes: AtomicU32::new(0),
        });
        let keeper = tokio::spawn(keep_running(Arc::clone(&start)));
        Self { start, keeper }
    }

    /// Returns its display name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.start.name
    }

    /// Returns what it runs.
    #[must_use]
    pub fn component(&self) -> Component {
        self.start.component
    }

    /// Returns how many times it was started.
    #[must_use]
    pub fn starts(&self) -> u32 {
        self.start.starts.load(Ordering::SeqCst)
    }

    /// Returns its peak memory since its last start, in MiB; `None` if it does not run.
    pub async fn peak_memory(&self) -> Option<u64> {
        let id = self.start.process.lock().await.as_ref().and_then(Child::id)?;
        Some(memory(id, "VmHWM")?.div_ceil(1024))
    }

    /// Returns how many times it ended at a crash point.
    #[must_use]
    pub fn crashes(&self) -> u32 {
        self.start.crashes.load(Ordering::SeqCst)
    }

    /// Sends it a signal, if it is running.
    pub async fn signal(&self, signal: Signal) {
        if let Some(id) = self.start.process.lock().await.as_ref().and_then(Child::id) {
            let _ = kill(Pid::from_raw(i32::try_from(id).expect("a process id")), signal);
        }
    }

    /// Kills it and starts it in this way; after its next end it restarts normally.
    pub async fn restart(&self, how: Restart) {
        let mut process = self.start.process.lock().await;
        if let Some(mut running) = process.take() {
            drop(running.kill().await);
        }
        *process = Some(self.start.spawn(how));
    }

    /// Terminates the program, which must end within [`STOP`], and lets it restart. `Err` describes what was wrong with
    /// its end.
    pub async fn end(&self) -> Result<(), String> {
        // Hold the lock until it has ended, or the next process would find its port in use.
        let mut running = self.start.process.lock().await;
        let Some(mut process) = running.take() else { return Ok(()) };
        if let Some(id) = process.id() {
            let _ = kill(Pid::from_raw(i32::try_from(id).expect("a process id")), Signal::SIGTERM);
        }
        match tokio::time::timeout(STOP, process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) if self.start.is_crash(status) => Ok(()),
            Ok(status) => Err(format!("{} ended with {status:?} after SIGTERM", self.start.name)),
            Err(_) => Err(format!("{} did not end within {STOP:?}", self.start.name)),
        }
    }

    /// Like [`Program::end`], but it stays stopped until [`Program::come_back`].
    pub async fn leave(&self) -> Result<(), String> {
        self.start.away.store(true, Ordering::SeqCst);
        self.end().await
    }

    /// Like [`Program::restart`], but once it has ended it stays stopped until [`Program::come_back`].
    pub async fn restart_once(&self, how: Restart) {
        self.start.away.store(true, Ordering::SeqCst);
        self.restart(how).await;
    }

    /// Lets it restart.
    pub fn come_back(&self) {
        self.start.away.store(false, Ordering::SeqCst);
    }

    /// Returns whether it has ended and was not restarted.
    pub async fn is_away(&self) -> bool {
        self.start.process.lock().await.is_none()
    }

    /// Like [`Program::end`], but the program stays stopped.
    pub async fn stop(self) -> Result<(), String> {
        self.keeper.abort();
        self.end().await
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
                    if let Some(Ok(Some(status))) = ended {
                        start.is_crash(status);
                    }
                    let away = start.away.load(Ordering::SeqCst);
                    *process = (!away).then(|| start.spawn(Restart::Plain));
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Start {
    /// Returns whether it ended at a crash point, and counts that.
    fn is_crash(&self, status: ExitStatus) -> bool {
        let crashed = status.signal() == Some(Signal::SIGABRT as i32);
        self.crashes.fetch_add(u32::from(crashed), Ordering::SeqCst);
        crashed
    }

    fn spawn(&self, how: Restart) -> Child {
        self.starts.fetch_add(1, Ordering::SeqCst);
        let log = File::options().create(true).append(true).open(&self.log).expect("a log of our own");
        Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.settings.iter().cloned())
            .envs(how.settings())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.name))
    }
}
