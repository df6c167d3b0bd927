//! Writes mails to files that any mail program can open, for demonstrations and tests.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures::{FutureExt as _, future::BoxFuture};
use lettre::message::Mailbox;
use orderflow_service::provider_error::ProviderError;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    ProviderSetupError,
    mail::{Mail, Mailer, compose},
};

/// The most files written concurrently. A directory accepts one new name at a time, so more writers would only spin on
/// its lock.
const WRITERS: usize = 2;

/// Writes each mail to `<Message-ID>.eml` in a directory.
#[derive(Debug)]
pub struct FileMailer {
    directory: PathBuf,
    from: Mailbox,
    writers: Semaphore,
}

impl FileMailer {
    /// Returns a mailer for this directory. Creates the directory if it does not exist.
    ///
    /// # Errors
    /// Fails if the directory cannot be created.
    pub fn new(directory: PathBuf, from: Mailbox) -> Result<Self, ProviderSetupError> {
        match fs::create_dir_all(&directory) {
            Ok(()) => Ok(Self { directory, from, writers: Semaphore::new(WRITERS) }),
            Err(source) => Err(ProviderSetupError::MailDirectory { directory, source }),
        }
    }
}

impl Mailer for FileMailer {
    fn domain(&self) -> &str {
        self.from.email.domain()
    }

    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), ProviderError>> {
        async move {
            let name = format!("{}.eml", mail.message_id);
            let content = compose(&self.from, mail)?.formatted();
            let directory = self.directory.clone();
            // The semaphore is never closed.
            let _writer = self.writers.acquire().await;
            // A disk can be slow, so write outside the runtime's own threads.
            match tokio::task::spawn_blocking(move || write(&directory, &name, &content)).await {
                Ok(Ok(())) => Ok(()),
                // The disk is full or the directory is not writable: this affects every mail.
                Ok(Err(error)) => Err(ProviderError::unavailable(format!("cannot write a mail: {error}"))),
                Err(_) => Err(ProviderError::transient("a mail was not written: the runtime is stopping")),
            }
        }
        .boxed()
    }
}

/// Writes a temporary file and renames it, so that readers see only complete mails and a repeated mail replaces itself.
/// The temporary name is random, since two workers may write the same mail.
fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let beside = directory.join(format!(".{}.tmp", Uuid::now_v7()));
    if let Err(error) = fs::write(&beside, content) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error);
        }
        // The directory was deleted after the start.
        fs::create_dir_all(directory)?;
        fs::write(&beside, content)?;
    }
    fs::rename(&beside, directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orderflow_order::domain::mail_address::sender;

    #[tokio::test]
    async fn repeated_mail_replaces_itself_and_leaves_no_temporary_file() {
        let directory = std::env::temp_dir().join(format!("orderflow-mails-{}", Uuid::now_v7()));
        let mailer = FileMailer::new(directory.clone(), sender("orders@shop.example").expect("a mailbox"))
            .expect("a directory that can be made");
        let mail = Mail {
            message_id: "1.received@shop.example".to_owned(),
            to_name: Some("Ada".to_owned()),
            to_address: "ada@example.com".to_owned(),
            subject: "We have your order".to_owned(),
            text: "text".to_owned(),
            html: "html".to_owned(),
        };
        assert_eq!(mailer.domain(), "shop.example");
        mailer.send(mail.clone()).await.expect("the first time");
        mailer.send(mail).await.expect("the second time");
        let names: Vec<_> = fs::read_dir(&directory)
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        assert_eq!(names, ["1.received@shop.example.eml"]);
        fs::remove_dir_all(directory).expect("it can be removed");
    }
}
