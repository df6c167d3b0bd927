//! SMTP, as much of RFC 5321 as a client without extensions needs, and one command of our own: `XFAULT MODE SHARE`.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clap::ValueEnum as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{Mode, Taken};
use crate::journal::Journal;

/// How long an answer that hangs is held at most.
const HANG: Duration = Duration::from_secs(600);

/// The longest mail that is taken, in bytes: far more than any of ours.
const LONGEST: usize = 1_000_000;

/// What every conversation shares.
struct Server {
    ledger: Journal,
    dice: Mutex<Dice>,
}

struct Dice {
    mode: Mode,
    /// Of all chances, 0 to 1.
    share: f64,
    random: StdRng,
}

/// Serves until the process is ended.
pub async fn serve(listen: SocketAddr, ledger: Journal, seed: u64) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    eprintln!("orderflow-faults: the mail server serves address={}", listener.local_addr()?);
    let dice = Dice { mode: Mode::None, share: 0.0, random: StdRng::seed_from_u64(seed) };
    let server = Arc::new(Server { ledger, dice: Mutex::new(dice) });
    loop {
        let (stream, _) = listener.accept().await?;
        let server = Arc::clone(&server);
        // A client that goes away in the middle of a conversation has said nothing.
        tokio::spawn(async move { drop(converse(&server, stream).await) });
    }
}

impl Server {
    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this goes wrong now.
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
                "250 so it shall be"
            }
            _ => "501 XFAULT MODE SHARE",
        }
    }

    /// Writes a mail down. The answer may go out after it only.
    async fn take(&self, to: String, mail: &str) {
        let taken = Taken { message_id: message_id(mail).unwrap_or_default(), to };
        let line = serde_json::to_string(&taken).expect("two texts are JSON");
        self.ledger.until_written(self.ledger.add(Some(&line))).await;
    }
}

async fn converse(server: &Server, stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    if server.strikes(Mode::Refuse) {
        return writer.write_all(b"421 4.3.2 not now\r\n").await;
    }
    let mut lines = BufReader::new(reader).lines();
    let mut recipient = String::new();
    writer.write_all(b"220 the mail server of a fault run\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let reply = match line.get(..4).unwrap_or(&line).to_ascii_uppercase().as_str() {
            "RCPT" if server.strikes(Mode::Greylist) => "451 4.7.1 try again in a moment",
            "RCPT" => {
                recipient = within_angles(&line).unwrap_or_default().to_owned();
                "250 fine"
            }
            "DATA" => {
                writer.write_all(b"354 go on\r\n").await?;
                let Some(mail) = content(&mut lines).await? else { return Ok(()) };
                if server.strikes(Mode::HangBefore) {
                    return hang().await;
                }
                server.take(std::mem::take(&mut recipient), &mail).await;
                if server.strikes(Mode::HangAfter) {
                    return hang().await;
                }
                if server.strikes(Mode::ErrorAfter) { "451 4.3.0 something went wrong" } else { "250 taken" }
            }
            "XFAU" => server.set(&line),
            "QUIT" => return writer.write_all(b"221 good bye\r\n").await,
            _ => "250 fine",
        };
        writer.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

/// The mail up to the line with a dot; `None` if the client went away before it.
async fn content(
    lines: &mut tokio::io::Lines<BufReader<tokio::net::tcp::OwnedReadHalf>>,
) -> io::Result<Option<String>> {
    let mut content = String::new();
    while let Some(line) = lines.next_line().await? {
        if line == "." {
            return Ok(Some(content));
        }
        if content.len() + line.len() > LONGEST {
            return Err(io::Error::other("too long"));
        }
        // A leading dot was doubled on its way (RFC 5321, 4.5.2).
        content.push_str(line.strip_prefix('.').unwrap_or(&line));
        content.push('\n');
    }
    Ok(None)
}

/// Of the header, wherever its line is folded.
fn message_id(mail: &str) -> Option<String> {
    let header = mail.split("\n\n").next()?;
    let at = header.to_ascii_lowercase().find("message-id:")?;
    within_angles(header.get(at..)?).map(str::to_owned)
}

fn within_angles(text: &str) -> Option<&str> {
    text.split_once('<')?.1.split_once('>').map(|(within, _)| within)
}

async fn hang() -> io::Result<()> {
    tokio::time::sleep(HANG).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_found_on_a_folded_line() {
        let mail = "To: a@example.org\nMessage-ID:\n <1.received@shop>\nSubject: x\n\nMessage-ID: <no>\n";
        assert_eq!(message_id(mail).as_deref(), Some("1.received@shop"));
    }
}
