use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::Stdio,
    time::Duration,
};

use nix::pty::{OpenptyResult, openpty};
use tokio::sync::mpsc;

use crate::process::{Ended, program_path};

/// How long a command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a person types.
#[derive(Debug, Clone, Copy)]
pub enum Typed<'t> {
    /// This, and the return key.
    Line(&'t str),
    /// Ctrl-D: the end of input.
    End,
}

/// Runs one of our programs with exactly these settings on a terminal, waits until `prompt` is on it, types the answer,
/// and waits until the program ends. All that was on the terminal is in `out`, what was typed too.
///
/// # Panics
/// When it does not ask, or does not end within a minute.
pub async fn run_on_terminal(
    program: &str,
    arguments: &[&str],
    settings: &[(String, String)],
    prompt: &str,
    typed: Typed<'_>,
) -> Ended {
    let OpenptyResult { master, slave } = openpty(None, None).expect("a terminal can be had");
    let side = || Stdio::from(slave.try_clone().expect("it can be shared"));
    let mut child = tokio::process::Command::new(program_path(program))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().cloned())
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    // Only the program has this end now, so that reading ends when the program does.
    drop(slave);
    let mut keyboard = File::from(master);
    let mut screen = Screen::of(keyboard.try_clone().expect("it can be shared"));
    screen.until(Some(prompt)).await;
    let keys = match typed {
        Typed::Line(line) => format!("{line}\n"),
        Typed::End => "\u{4}".to_owned(),
    };
    keyboard.write_all(keys.as_bytes()).expect("it can be typed");
    screen.until(None).await;
    let status = tokio::time::timeout(PATIENCE, child.wait()).await;
    let status = status.unwrap_or_else(|_| panic!("{program} {arguments:?} did not end: {:?}", screen.text));
    Ended { code: status.expect("it can be waited for").code(), out: screen.text, err: String::new() }
}

/// What is written on a terminal.
struct Screen {
    written: mpsc::UnboundedReceiver<Vec<u8>>,
    text: String,
}

impl Screen {
    fn of(mut terminal: File) -> Self {
        let (write, written) = mpsc::unbounded_channel();
        // Reading a terminal blocks, so it has a thread, which ends with the program.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // When the other end is closed, Linux says that with an error.
            while let Ok(length @ 1..) = terminal.read(&mut buffer) {
                if write.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { written, text: String::new() }
    }

    /// Reads until this is on it; `None`: until the program has closed it.
    async fn until(&mut self, wanted: Option<&str>) {
        let reading = async {
            while wanted.is_none_or(|wanted| !self.text.contains(wanted)) {
                let Some(bytes) = self.written.recv().await else {
                    assert!(wanted.is_none(), "the program ended before it said {wanted:?}: {:?}", self.text);
                    return;
                };
                self.text.push_str(&String::from_utf8_lossy(&bytes));
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "{wanted:?} is not on the terminal: {:?}", self.text);
    }
}
