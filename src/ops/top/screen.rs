//! Takes over the terminal, always restores it, and reads its keys.

use std::{io, thread, time::Duration};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc;

use super::{
    draw::draw,
    model::{KeyCommand, Model},
};

/// The longest wait for a key; the thread outlives the screen by at most this time.
const LOOK: Duration = Duration::from_millis(200);

/// The most keys that wait for the screen.
const KEYS: usize = 16;

/// The number of queues in a page.
const PAGE: usize = 10;

/// The terminal; dropping it restores the earlier state. A panic anywhere restores it too, before its message is
/// written.
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Fails if standard output is not a terminal.
    pub fn take() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                // The terminal may be partly taken over.
                drop(ratatui::try_restore());
                Err(error)
            }
        }
    }

    /// Shows the model.
    ///
    /// # Errors
    /// Fails if the terminal cannot be written to.
    pub fn show(&mut self, model: &Model) -> io::Result<()> {
        self.0.draw(|frame| draw(frame, model)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Dropping the inner terminal shows the cursor again. If the terminal is gone, nobody can read an error.
        drop(ratatui::try_restore());
    }
}

/// Returns the commands of the operator's keys, until the receiver is dropped. Reading a terminal blocks, so a thread
/// does it.
#[must_use]
pub fn keys() -> mpsc::Receiver<KeyCommand> {
    let (sender, commands) = mpsc::channel(KEYS);
    thread::spawn(move || {
        while !sender.is_closed() {
            let command = match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => event::read().map(|event| command(&event)),
                Err(error) => Err(error),
            };
            // A terminal that cannot be read is gone.
            let command = command.unwrap_or(Some(KeyCommand::Quit));
            if command.is_some_and(|command| sender.blocking_send(command).is_err()) {
                return;
            }
        }
    });
    commands
}

fn command(event: &Event) -> Option<KeyCommand> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => of_key(*key),
        Event::Resize(..) => Some(KeyCommand::Redraw),
        _ => None,
    }
}

fn of_key(key: KeyEvent) -> Option<KeyCommand> {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(KeyCommand::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(KeyCommand::Quit),
        KeyCode::Char('a') => Some(KeyCommand::All),
        KeyCode::Up | KeyCode::Char('k') => Some(KeyCommand::Up(1)),
        KeyCode::Down | KeyCode::Char('j') => Some(KeyCommand::Down(1)),
        KeyCode::PageUp => Some(KeyCommand::Up(PAGE)),
        KeyCode::PageDown => Some(KeyCommand::Down(PAGE)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_keys_quit() {
        let pressed = |code, modifiers| command(&Event::Key(KeyEvent::new(code, modifiers)));
        let leave = Some(KeyCommand::Quit);
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::NONE), leave);
        assert_eq!(pressed(KeyCode::Esc, KeyModifiers::NONE), leave);
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), leave);
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::NONE), None);
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(command(&Event::Key(released)), None);
        assert_eq!(command(&Event::Resize(80, 24)), Some(KeyCommand::Redraw));
    }
}
