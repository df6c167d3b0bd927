use std::{
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::ops::Failed;

/// How long to wait for an answer: RabbitMQ requeues messages that are held for half an hour.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// The operator's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Continue.
    Yes,
    /// Stop; also at the end of input, and if there is no answer within ten minutes.
    No,
}

/// Asks the operator at the terminal for confirmation; `yes` confirms in advance.
///
/// # Errors
/// Returns [`Failed::Usage`] if there is no terminal.
pub async fn ask(question: &str, yes: bool, out: &mut impl Write) -> Result<Answer, Failed> {
    if yes {
        return Ok(Answer::Yes);
    }
    if !io::stdin().is_terminal() {
        return Err(Failed::Usage("cannot ask for confirmation without a terminal: pass --yes to confirm".to_owned()));
    }
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let (sender, receiver) = oneshot::channel();
    // On a detached thread: a blocking task would keep the program from ending.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // The receiver is gone after a time-out.
        let _ = sender.send(read.map(|bytes| (bytes > 0).then_some(line)));
    });
    let answer = tokio::time::timeout(PATIENCE, receiver).await;
    // At the end of input, the line of the question is still open.
    let Ok(Ok(Ok(Some(line)))) = answer else {
        writeln!(out)?;
        return Ok(Answer::No);
    };
    Ok(if matches!(line.trim().to_lowercase().as_str(), "y" | "yes") { Answer::Yes } else { Answer::No })
}
