use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZero,
    os::fd::OwnedFd,
    process::Stdio,
    time::Duration,
};

use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::termios::{Termios, tcgetattr},
};
use tokio::sync::mpsc;

use crate::{
    process::{Ended, program_path},
    until,
};

/// How long a command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the user types.
#[derive(Debug, Clone, Copy)]
pub enum Typed<'t> {
    /// This text and the return key.
    Line(&'t str),
    /// Ctrl-D: the end of input.
    End,
}

/// Runs one of our programs with exactly these settings on a terminal, waits for `prompt`, types the answer, and waits
/// until the program ends. `out` contains everything on the terminal, including what was typed.
///
/// # Panics
/// Panics if the prompt does not appear, or the program does not end within a minute.
pub async fn run_on_terminal(
    program: &str,
    arguments: &[&str],
    settings: &[(String, String)],
    prompt: &str,
    typed: Typed<'_>,
) -> Ended {
    let OpenptyResult { master, slave } = openpty(None, None).expect("a terminal is available");
    let mut child = on_terminal(program, arguments, settings, &slave);
    // Now only the program holds this end, so reading ends when the program does.
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

/// A full-screen program on a terminal, and its user. It is killed when this is dropped.
pub struct Terminal {
    program: String,
    child: tokio::process::Child,
    keyboard: File,
    written: mpsc::UnboundedReceiver<Vec<u8>>,
    parser: vt100::Parser,
}

impl Terminal {
    /// Starts one of our programs with exactly these settings on a terminal of this size.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    #[must_use]
    pub fn start(
        program: &str,
        arguments: &[&str],
        settings: &[(String, String)],
        (rows, columns): (u16, u16),
    ) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a terminal is available");
        let child = on_terminal(program, arguments, settings, &slave);
        let keyboard = File::from(master);
        let written = Screen::of(keyboard.try_clone().expect("it can be shared")).written;
        let above_zero = |size| NonZero::new(size).expect("it has a size");
        let parser = vt100::Parser::new(above_zero(rows), above_zero(columns), 0);
        Self { program: program.to_owned(), child, keyboard, written, parser }
    }

    /// Returns the current screen.
    pub fn screen(&mut self) -> &vt100::Screen {
        while let Ok(bytes) = self.written.try_recv() {
            self.parser.process(&bytes);
        }
        self.parser.screen()
    }

    /// Waits until all of these texts are on the screen together.
    ///
    /// # Panics
    /// Panics if they do not appear within a minute, or the program ends first.
    pub async fn until(&mut self, wanted: &[&str]) {
        until(&format!("{wanted:?} is on the terminal"), async || {
            let shown = self.screen().contents();
            let ended = self.child.try_wait().expect("its state can be read");
            assert!(ended.is_none(), "{} ended before {wanted:?} was on the terminal: {shown}", self.program);
            if wanted.iter().all(|text| shown.contains(text)) { Ok(()) } else { Err(Shown(shown)) }
        })
        .await;
    }

    /// Presses keys.
    ///
    /// # Panics
    /// Panics if they cannot be typed.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("it can be typed");
    }

    /// Returns the terminal's modes, which decide how it passes on and echoes input.
    ///
    /// # Panics
    /// Panics if they cannot be read.
    #[must_use]
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.keyboard).expect("the modes can be read")
    }

    /// Returns the program's process id.
    ///
    /// # Panics
    /// Panics if the program has ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("it is running")
    }

    /// Waits until the program ends, reads its remaining output, and returns its exit status.
    ///
    /// # Panics
    /// Panics if it does not end within a minute.
    pub async fn ended(&mut self) -> Option<i32> {
        let ending = async {
            // The channel closes when the program ends, since only the program holds the other end.
            while let Some(bytes) = self.written.recv().await {
                self.parser.process(&bytes);
            }
            self.child.wait().await
        };
        let status = tokio::time::timeout(PATIENCE, ending).await;
        let status = status.unwrap_or_else(|_| panic!("{} did not end", self.program));
        status.expect("it can be waited for").code()
    }
}

/// Prints the screen as it looks, not escaped on one line.
struct Shown(String);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

fn on_terminal(
    program: &str,
    arguments: &[&str],
    settings: &[(String, String)],
    slave: &OwnedFd,
) -> tokio::process::Child {
    let side = || Stdio::from(slave.try_clone().expect("it can be shared"));
    tokio::process::Command::new(program_path(program))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().cloned())
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"))
}

/// The output on a terminal.
struct Screen {
    written: mpsc::UnboundedReceiver<Vec<u8>>,
    text: String,
}

impl Screen {
    fn of(mut terminal: File) -> Self {
        let (write, written) = mpsc::unbounded_channel();
        // Reading a terminal blocks, so a thread does it, which ends with the program.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Linux reports an error when the other end is closed.
            while let Ok(length @ 1..) = terminal.read(&mut buffer) {
                if write.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { written, text: String::new() }
    }

    /// Reads until this text appears; `None`: until the program closes the terminal.
    async fn until(&mut self, wanted: Option<&str>) {
        let reading = async {
            while wanted.is_none_or(|wanted| !self.text.contains(wanted)) {
                let Some(bytes) = self.written.recv().await else {
                    assert!(wanted.is_none(), "the program ended before it printed {wanted:?}: {:?}", self.text);
                    return;
                };
                self.text.push_str(&String::from_utf8_lossy(&bytes));
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "{wanted:?} is not on the terminal: {:?}", self.text);
    }
}
