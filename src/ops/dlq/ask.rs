use std::{
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::ops::Failed;

/// How long a question waits for its answer: RabbitMQ takes messages back that are held for half an hour.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Yes,
    /// Do not; also at the end of input, and when nobody answers within ten minutes.
    No,
}

/// Asks a person at the terminal; `yes` answers beforehand.
///
/// # Errors
/// [`Failed::Usage`] where there is no terminal.
pub async fn ask(question: &str, yes: bool, out: &mut impl Write) -> Result<Answer, Failed> {
    if yes {
        return Ok(Answer::Yes);
    }
    if !io::stdin().is_terminal() {
        return Err(Failed::Usage("there is nobody to ask here: say --yes if that is what you want".to_owned()));
    }
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let (tell, told) = oneshot::channel();
    // On a thread that may be left behind: a blocking task would keep the program from ending.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line);
        // Nobody waits for the answer any more.
        let _ = tell.send(read.map(|bytes| (bytes > 0).then_some(line)));
    });
    let answer = tokio::time::timeout(PATIENCE, told).await;
    // At the end of input nothing ends the question's line either.
    let Ok(Ok(Ok(Some(line)))) = answer else {
        writeln!(out)?;
        return Ok(Answer::No);
    };
    Ok(if matches!(line.trim().to_lowercase().as_str(), "y" | "yes") { Answer::Yes } else { Answer::No })
}
