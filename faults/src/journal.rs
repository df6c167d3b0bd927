//! A journal: lines of JSON that are on the disk before an answer depends on them.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// An append-only file. The lines waiting in memory are bounded by the requests in progress, since each waits until its
/// own line is on the disk.
#[derive(Debug)]
pub struct Journal {
    waiting: Arc<(Mutex<Waiting>, Condvar)>,
    /// The number of lines on the disk.
    written: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    text: String,
    /// Lines added since the start, written or not.
    lines: u64,
}

impl Journal {
    /// Opens or creates the file, and returns its entries. Removes a last line that a crash truncated: no answer has
    /// depended on it.
    pub fn open<T: DeserializeOwned>(path: &Path) -> io::Result<(Self, Vec<T>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let lines = text.get(..whole).unwrap_or_default().lines();
        let entries = lines.map(serde_json::from_str).collect::<Result<Vec<T>, _>>()?;
        file.set_len(u64::try_from(whole).map_err(io::Error::other)?)?;
        file.seek(io::SeekFrom::End(0))?;
        file.sync_all()?;
        let waiting = Arc::<(Mutex<Waiting>, Condvar)>::default();
        let (sender, written) = watch::channel(0);
        let its = Arc::clone(&waiting);
        thread::Builder::new().name("journal".to_owned()).spawn(move || write(&its, file, &sender))?;
        Ok((Self { waiting, written }, entries))
    }

    /// Adds a line, if there is one, and returns the number of lines added so far: the present state is on the disk
    /// once this many are written.
    pub fn add(&self, line: Option<&str>) -> u64 {
        let (waiting, changed) = &*self.waiting;
        let mut waiting = lock(waiting);
        if let Some(line) = line {
            waiting.text.push_str(line);
            waiting.text.push('\n');
            waiting.lines = waiting.lines.saturating_add(1);
            changed.notify_one();
        }
        waiting.lines
    }

    /// Waits until this many lines are on the disk.
    pub async fn until_written(&self, lines: u64) {
        // The writer ends with the process.
        drop(self.written.clone().wait_for(|written| *written >= lines).await);
    }
}

/// Writes waiting lines in batches, forever. A failing disk ends the process: no answer may go out before its line is
/// written.
fn write(waiting: &(Mutex<Waiting>, Condvar), mut file: File, written: &watch::Sender<u64>) {
    loop {
        let (text, lines) = {
            let nothing = |waiting: &mut Waiting| waiting.text.is_empty();
            let taken = waiting.1.wait_while(lock(&waiting.0), nothing);
            let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut taken.text), taken.lines)
        };
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            eprintln!("orderflow-faults: the journal cannot be written: {error}");
            std::process::exit(1);
        }
        written.send_replace(lines);
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
