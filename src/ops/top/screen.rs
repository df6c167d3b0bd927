//! The terminal: taken over, given back in every case, and listened to.

use std::{io, thread, time::Duration};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc;

use super::{
    draw::draw,
    model::{Model, Wish},
};

/// How long a look for keys takes at most; so long the thread lives on after the screen.
const LOOK: Duration = Duration::from_millis(200);

/// Keys that may wait for the screen.
const KEYS: usize = 16;

/// How many queues a page is.
const PAGE: usize = 10;

/// The terminal, until it is dropped: then it is as it was before. A panic anywhere gives it back too, before its message
/// is written.
pub struct Screen(DefaultTerminal);

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When it is none.
    pub fn take() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                // It may have been taken over by half.
                drop(ratatui::try_restore());
                Err(error)
            }
        }
    }

    /// Shows the model.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn show(&mut self, model: &Model) -> io::Result<()> {
        self.0.draw(|frame| draw(frame, model)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The cursor is shown again with the terminal inside. Where the terminal has gone there is nobody to tell.
        drop(ratatui::try_restore());
    }
}

/// What the person's keys ask for, until the receiver is dropped. Reading a terminal blocks, so it has a thread.
#[must_use]
pub fn keys() -> mpsc::Receiver<Wish> {
    let (tell, wishes) = mpsc::channel(KEYS);
    thread::spawn(move || {
        while !tell.is_closed() {
            let wish = match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => event::read().map(|event| wish(&event)),
                Err(error) => Err(error),
            };
            // A terminal that cannot be read has gone.
            let wish = wish.unwrap_or(Some(Wish::Quit));
            if wish.is_some_and(|wish| tell.blocking_send(wish).is_err()) {
                return;
            }
        }
    });
    wishes
}

fn wish(event: &Event) -> Option<Wish> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => of_key(*key),
        Event::Resize(..) => Some(Wish::Redraw),
        _ => None,
    }
}

fn of_key(key: KeyEvent) -> Option<Wish> {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Wish::Quit),
        KeyCode::Char('a') => Some(Wish::All),
        KeyCode::Up | KeyCode::Char('k') => Some(Wish::Up(1)),
        KeyCode::Down | KeyCode::Char('j') => Some(Wish::Down(1)),
        KeyCode::PageUp => Some(Wish::Up(PAGE)),
        KeyCode::PageDown => Some(Wish::Down(PAGE)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_keys_leave() {
        let pressed = |code, modifiers| wish(&Event::Key(KeyEvent::new(code, modifiers)));
        let leave = Some(Wish::Quit);
        assert_eq!(pressed(KeyCode::Char('q'), KeyModifiers::NONE), leave);
        assert_eq!(pressed(KeyCode::Esc, KeyModifiers::NONE), leave);
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL), leave);
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::NONE), None);
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(wish(&Event::Key(released)), None);
        assert_eq!(wish(&Event::Resize(80, 24)), Some(Wish::Redraw));
    }
}
