//! maildev, from npm: the mail server in which developers read the shop's mails.

use std::{net::TcpListener, path::PathBuf, process::Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Web, until};

/// The test's own maildev. It is killed when this is dropped.
#[derive(Debug)]
pub struct Maildev {
    /// The value for `SMTP_URL`.
    pub smtp_url: String,
    web: Web,
    // Held so that they end with this.
    _process: tokio::process::Child,
    _mails: TempDir,
}

/// A mail as maildev parsed it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its id in maildev.
    pub id: String,
    /// The Message-ID, without its brackets.
    pub message_id: String,
    /// The subject.
    pub subject: String,
    /// The text version.
    pub text: String,
    /// The HTML version.
    pub html: String,
}

impl Maildev {
    /// Starts maildev on free ports of 127.0.0.1 and waits until it answers.
    ///
    /// # Panics
    /// Panics if it is not installed, or does not start.
    pub async fn start() -> Self {
        let program =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.dev/tools/maildev/node_modules/maildev/bin/maildev");
        assert!(program.exists(), "maildev is not installed: run `make test-full` or scripts/browser.sh --full");
        // maildev does not report which port it got, so we choose both. Hold both until both are known.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [smtp, http] = ports.map(|port| port.local_addr().expect("it is bound"));
        let mails = TempDir::with_prefix("orderflow-maildev-").expect("a directory");
        let process = tokio::process::Command::new("node")
            .arg(program)
            .args(["--ip", "127.0.0.1", "--smtp", &smtp.port().to_string(), "--web", &http.port().to_string()])
            .args(["--silent", "--mail-directory", &mails.path().display().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("node can be started");
        let web = Web::new(http);
        until("maildev answers", async || {
            let answer = web.try_send(reqwest::Method::GET, "/healthz", &[], None).await;
            answer.map(drop)
        })
        .await;
        Self { smtp_url: format!("smtp://{smtp}"), web, _process: process, _mails: mails }
    }

    /// Returns the mails that it received, oldest first.
    ///
    /// # Panics
    /// Panics if it does not answer.
    pub async fn mails(&self) -> Vec<Received> {
        let answer = self.web.get("/email", &[]).await;
        let mails = answer.body.as_array().unwrap_or_else(|| panic!("no mails: {answer:?}")).clone();
        let text = |mail: &Value, name: &str| mail[name].as_str().unwrap_or_default().to_owned();
        let received = |mail: &Value| Received {
            id: text(mail, "id"),
            message_id: text(mail, "messageId").trim_matches(['<', '>']).to_owned(),
            subject: text(mail, "subject"),
            text: text(mail, "text"),
            html: text(mail, "html"),
        };
        mails.iter().map(received).collect()
    }

    /// Returns the URL that shows a mail's HTML as a page.
    #[must_use]
    pub fn page(&self, mail: &Received) -> String {
        format!("{}/email/{}/html", self.web.root, mail.id)
    }

    /// Returns the URL of this mail in maildev's list.
    #[must_use]
    pub fn view(&self, mail: &Received) -> String {
        format!("{}/#/email/{}", self.web.root, mail.id)
    }
}
