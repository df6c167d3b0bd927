use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::until;

/// One of our programs, running. It is killed when this is dropped.
#[derive(Debug)]
pub struct Child {
    program: String,
    process: tokio::process::Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// Returns the path of one of our programs. Cargo puts programs and benchmarks into the profile's directory, and tests
/// one level further down.
///
/// # Panics
/// Panics if it is not built.
#[must_use]
pub fn program_path(program: &str) -> PathBuf {
    let own = env::current_exe().expect("a running program has a path");
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(program)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is not built: run the tests with `make test`"))
}

/// The result of a program that ran until it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs one of our programs with exactly these settings until it ends.
///
/// # Panics
/// Panics if it cannot be started, or does not end within a minute.
pub async fn run(program: &str, arguments: &[&str], settings: &[(String, String)]) -> Ended {
    run_for(std::time::Duration::from_secs(60), program, arguments, settings).await
}

/// Like [`run`], but with another time limit.
///
/// # Panics
/// Panics if it cannot be started, or does not end in time.
pub async fn run_for(
    bound: std::time::Duration,
    program: &str,
    arguments: &[&str],
    settings: &[(String, String)],
) -> Ended {
    run_path_for(bound, &program_path(program), arguments, settings).await
}

/// Like [`run`], for the program at this path.
///
/// # Panics
/// Panics if it cannot be started, or does not end within a minute.
pub async fn run_path(path: &Path, arguments: &[&str], settings: &[(String, String)]) -> Ended {
    run_path_for(std::time::Duration::from_secs(60), path, arguments, settings).await
}

async fn run_path_for(
    bound: std::time::Duration,
    path: &Path,
    arguments: &[&str],
    settings: &[(String, String)],
) -> Ended {
    let program = path.display();
    let running = tokio::process::Command::new(path)
        .args(arguments)
        .env_clear()
        .envs(settings.iter().cloned())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(bound, running).await;
    let output = output.unwrap_or_else(|_| panic!("{program} {arguments:?} did not end within {bound:?}"));
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Returns the value of a memory line of `/proc/ID/status`, for example `VmHWM`, in KiB; `None` if there is no such
/// process.
#[must_use]
pub fn memory(id: u32, line: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

impl Child {
    /// Starts a program with exactly these settings.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    #[must_use]
    pub fn start(program: &str, arguments: &[&str], settings: &[(String, String)]) -> Self {
        Self::start_at(program, program_path(program), arguments, settings)
    }

    /// Starts a program installed on this machine, with an empty environment.
    ///
    /// # Panics
    /// Panics if it is not installed, or cannot be started.
    #[must_use]
    pub fn start_installed(program: &str, arguments: &[&str]) -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file());
        let found =
            found.unwrap_or_else(|| panic!("{program} is not installed: run `make test-full`, which installs it"));
        Self::start_at(program, found, arguments, &[])
    }

    /// Starts a program at this path.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    #[must_use]
    pub fn start_path(path: &Path, arguments: &[&str], settings: &[(String, String)]) -> Self {
        let program = path.file_name().and_then(|name| name.to_str()).expect("a program");
        Self::start_at(program, path.to_owned(), arguments, settings)
    }

    fn start_at(program: &str, path: PathBuf, arguments: &[&str], settings: &[(String, String)]) -> Self {
        let mut process = tokio::process::Command::new(path)
            .args(arguments)
            .env_clear()
            .envs(settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(process.stderr.take().expect("its standard error is piped")).lines();
        let written = Arc::clone(&log);
        let name = program.to_owned();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // The test runner shows this when the test fails.
                println!("{name}: {line}");
                written.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { program: program.to_owned(), process, log }
    }

    /// Returns the lines logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what `pick` finds in the first logged line that has it. A poll must not copy the whole log: a worker logs
    /// thousands of lines.
    fn find<T>(&self, pick: impl FnMut(&String) -> Option<T>) -> Option<T> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).iter().find_map(pick)
    }

    /// Waits until the program has logged a line that contains `text`, and returns that line.
    ///
    /// # Panics
    /// Panics if no such line is logged in time, or the program ends first.
    pub async fn until_logged(&mut self, text: &str) -> String {
        let mut found = None;
        until(&format!("{} logs {text:?}", self.program), async || {
            found = self.find(|line| line.contains(text).then(|| line.clone()));
            assert!(
                found.is_some() || self.process.try_wait().ok().flatten().is_none(),
                "{} ended before it logged {text:?}: {:#?}",
                self.program,
                self.log()
            );
            found.as_ref().map(drop).ok_or("not yet")
        })
        .await;
        found.expect("the wait ends when it is found")
    }

    /// Waits for and returns the address that the program listens on.
    ///
    /// # Panics
    /// Panics if it never logs one.
    pub async fn address(&mut self) -> SocketAddr {
        self.logged_address("address").await
    }

    /// Waits for and returns the address in the log's field `name`: `name=127.0.0.1:4711`, or
    /// `"name":"127.0.0.1:4711"` in JSON.
    ///
    /// # Panics
    /// Panics if it never logs one.
    pub async fn logged_address(&mut self, name: &str) -> SocketAddr {
        let (text, json) = (format!(" {name}=127."), format!("\"{name}\":\"127."));
        let mut found = None;
        until(&format!("{} logs its {name}", self.program), async || {
            let after = |line: &String| {
                let rest =
                    [&text, &json].iter().find_map(|before| Some(line.split_once(before.as_str())?.1.to_owned()))?;
                let end = rest.find([' ', '"']).unwrap_or(rest.len());
                format!("127.{}", rest.get(..end)?).parse().ok()
            };
            found = self.find(after);
            assert!(
                found.is_some() || self.process.try_wait().ok().flatten().is_none(),
                "{} ended before it logged its {name}: {:#?}",
                self.program,
                self.log()
            );
            found.map(drop).ok_or("not yet")
        })
        .await;
        found.expect("the wait ends when it is found")
    }

    /// Returns the process id.
    ///
    /// # Panics
    /// Panics if the process has ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id().expect("it is running")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// Panics if the process has ended.
    pub fn signal(&self, signal: Signal) {
        let id = self.id();
        kill(Pid::from_raw(i32::try_from(id).expect("a process id")), signal).expect("it can be signalled");
    }

    /// Sends SIGTERM and waits until the process ends.
    ///
    /// # Panics
    /// Panics if it does not end with status 0 within 30 s, as the contract requires.
    pub async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let bound = std::time::Duration::from_secs(30);
        let status = tokio::time::timeout(bound, self.process.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{} took longer than {bound:?} to end", self.program));
        let status = status.expect("it can be waited for");
        assert!(status.success(), "{} ended with {status}", self.program);
    }

    /// Kills it without warning.
    ///
    /// # Panics
    /// Panics if it cannot be killed.
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it can be killed");
    }

    /// Returns whether the process has ended.
    ///
    /// # Panics
    /// Panics if its state cannot be read.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("it can be waited for").is_some()
    }

    /// Waits until the process ends on its own.
    ///
    /// # Panics
    /// Panics if it does not end within a minute.
    pub async fn ended(&mut self) -> ExitStatus {
        let bound = std::time::Duration::from_secs(60);
        let status = tokio::time::timeout(bound, self.process.wait()).await;
        status
            .unwrap_or_else(|_| panic!("{} did not end within {bound:?}", self.program))
            .expect("it can be waited for")
    }
}
