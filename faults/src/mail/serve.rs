//! The mail server's answers, with a command of its own: `XFAULT MODE SHARE`.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clap::ValueEnum as _;
use orderflow_tests::{Postbox, serve_mail};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, time::sleep};

use crate::journal::Journal;

/// How long a hanging answer is held at most.
const HANG: Duration = Duration::from_secs(600);

/// An accepted mail: one line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedMail {
    /// Without the angle brackets.
    pub message_id: String,
    /// The envelope's recipient.
    pub to: String,
}

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Mode {
    /// No failure.
    #[default]
    None,
    /// 421 instead of a greeting.
    Refuse,
    /// 451 for the recipient.
    Greylist,
    /// The mail is not stored, and there is no answer.
    HangBefore,
    /// The mail is stored, and there is no answer.
    HangAfter,
    /// The mail is stored, and the answer is 451.
    ErrorAfter,
}

/// The state shared by all sessions.
struct Server {
    ledger: Journal,
    dice: Mutex<Dice>,
}

struct Dice {
    mode: Mode,
    /// The share of mails affected, 0 to 1.
    share: f64,
    random: StdRng,
}

/// Serves until the process is terminated.
pub async fn serve(listen: SocketAddr, ledger: Journal, seed: u64) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    eprintln!("orderflow-faults: the mail server serves address={}", listener.local_addr()?);
    let dice = Dice { mode: Mode::None, share: 0.0, random: StdRng::seed_from_u64(seed) };
    serve_mail(listener, Arc::new(Server { ledger, dice: Mutex::new(dice) })).await
}

impl Server {
    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether this failure strikes now.
    fn strikes(&self, mode: Mode) -> bool {
        let mut dice = self.dice();
        let share = dice.share;
        dice.mode == mode && dice.random.random_bool(share)
    }

    /// `XFAULT MODE SHARE`
    fn set(&self, line: &str) -> &'static str {
        let mut words = line.split_whitespace().skip(1);
        let mode = words.next().and_then(|word| Mode::from_str(word, false).ok());
        let share = words.next().and_then(|word| word.parse().ok()).filter(|share| (0.0..=1.0).contains(share));
        match (mode, share) {
            (Some(mode), Some(share)) => {
                let mut dice = self.dice();
                (dice.mode, dice.share) = (mode, share);
                "250 fault set"
            }
            _ => "501 XFAULT MODE SHARE",
        }
    }

    /// Records a mail and waits until it is on the disk, before which no answer may go out.
    async fn take(&self, to: String, mail: &str) {
        let taken = AcceptedMail { message_id: message_id(mail).unwrap_or_default(), to };
        let line = serde_json::to_string(&taken).expect("two texts are JSON");
        self.ledger.until_written(self.ledger.add(Some(&line))).await;
    }
}

impl Postbox for Server {
    fn refusal(&self) -> Option<&'static str> {
        self.strikes(Mode::Refuse).then_some("421 4.3.2 not now")
    }

    fn recipient(&self, _: &str) -> &'static str {
        if self.strikes(Mode::Greylist) { "451 4.7.1 try again in a moment" } else { "250 fine" }
    }

    async fn mail(&self, recipient: String, content: String) -> &'static str {
        if self.strikes(Mode::HangBefore) {
            sleep(HANG).await;
            return "451 4.3.0 timed out";
        }
        self.take(recipient, &content).await;
        if self.strikes(Mode::HangAfter) {
            sleep(HANG).await;
        }
        if self.strikes(Mode::ErrorAfter) { "451 4.3.0 something went wrong" } else { "250 accepted" }
    }

    fn command(&self, line: &str) -> Option<&'static str> {
        line.starts_with("XFAULT").then(|| self.set(line))
    }
}

/// Returns the header's Message-ID, even from a folded line.
fn message_id(mail: &str) -> Option<String> {
    let header = mail.split("\r\n\r\n").next()?;
    let at = header.to_ascii_lowercase().find("message-id:")?;
    let (id, _) = header.get(at..)?.split_once('<')?.1.split_once('>')?;
    Some(id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_id_is_found_on_a_folded_line() {
        let mail = "To: a@example.org\r\nMessage-ID:\r\n <1.received@shop>\r\nSubject: x\r\n\r\nMessage-ID: <no>\r\n";
        assert_eq!(message_id(mail).as_deref(), Some("1.received@shop"));
    }
}
