//! A journal: lines of JSON, on the disk before anybody is told what they say.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// A file that is only ever added to. What waits in memory is bounded by the requests under way, since each waits until
/// its own line is on the disk.
#[derive(Debug)]
pub struct Journal {
    waiting: Arc<(Mutex<Waiting>, Condvar)>,
    /// So many lines are on the disk.
    written: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    text: String,
    /// Lines handed over since the start, written or not.
    lines: u64,
}

impl Journal {
    /// Opens the file, or makes it, and returns what stands there. A last line that a crash cut off is taken away: nobody
    /// was told of it.
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

    /// Hands a line over, if there is one, and returns how many have been handed over: what is known now is known to the
    /// disk once so many are written.
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

    /// Waits until so many lines are on the disk.
    pub async fn until_written(&self, lines: u64) {
        // The writer ends with the process.
        drop(self.written.clone().wait_for(|written| *written >= lines).await);
    }
}

/// Writes what waits, together, for ever. A disk that fails ends the process: an answer must not go out without it.
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
