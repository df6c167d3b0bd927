//! A run's mail server process, and the checks of its ledger.

use std::{collections::HashSet, net::SocketAddr, path::PathBuf};

use clap::ValueEnum as _;
use orderflow_tests::Child;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::serve::{AcceptedMail, Mode};

/// The server and the directory of its ledger. Dropping it kills the server.
pub struct MailServer {
    child: Option<Child>,
    address: SocketAddr,
    directory: TempDir,
}

impl MailServer {
    /// Starts a server with an empty ledger.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child: None, address, directory };
        server.restart().await;
        server
    }

    /// Returns the value of `SMTP_URL`.
    pub fn url(&self) -> url::Url {
        format!("smtp://{}", self.address).parse().expect("a URL")
    }

    /// Kills it without warning.
    pub async fn kill(&mut self) {
        self.child.take().expect("it runs").kill().await;
    }

    /// Starts it again after [`MailServer::kill`], on the same port and ledger.
    pub async fn restart(&mut self) {
        let (listen, ledger) = (self.address.to_string(), self.ledger());
        let arguments = ["mail", "--listen", &listen, "--ledger", ledger.to_str().expect("text")];
        let mut child = Child::start("orderflow-faults", &arguments, &[]);
        self.address = child.address().await;
        self.child = Some(child);
    }

    /// From now on this failure affects this share of the mails, 0 to 1.
    pub async fn fail(&self, mode: Mode, share: f64) {
        let name = mode.to_possible_value().expect("every mode has a name");
        loop {
            let stream = TcpStream::connect(self.address).await.expect("the mail server can be reached");
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            let greeting = lines.next_line().await.expect("it greets").unwrap_or_default();
            // In the mode `Refuse` it may refuse this connection too.
            if greeting.starts_with("220") {
                let command = format!("XFAULT {} {share}\r\n", name.get_name());
                writer.write_all(command.as_bytes()).await.expect("it listens");
                let answer = lines.next_line().await.expect("it answers").unwrap_or_default();
                assert!(answer.starts_with("250"), "{answer}");
                return;
            }
        }
    }

    /// Returns every accepted mail, in order.
    pub fn taken(&self) -> Vec<AcceptedMail> {
        let text = std::fs::read_to_string(self.ledger()).expect("the ledger can be read");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of the ledger")).collect()
    }

    /// Compares the ledger with the Message-IDs of the mails recorded as sent, `planned`. Returns the violations, and
    /// the number of repeated mails, which mail programs recognise by that id.
    pub fn violations(&self, planned: &HashSet<String>) -> (Vec<String>, usize) {
        let taken = self.taken();
        let ids: HashSet<&str> = taken.iter().map(|mail| mail.message_id.as_str()).collect();
        let unknown = ids.iter().filter(|id| !planned.contains(**id));
        let missing = planned.iter().filter(|id| !ids.contains(id.as_str()));
        let wrong = unknown
            .map(|id| format!("an unplanned mail arrived: {id:?}"))
            .chain(missing.map(|id| format!("a mail is recorded as sent and never arrived: {id}")))
            .collect();
        (wrong, taken.len() - ids.len())
    }

    fn ledger(&self) -> PathBuf {
        self.directory.path().join("mails")
    }
}
