use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// A mail server that keeps what it is given, and refuses the first recipients that it hears of for a passing reason
/// (451, as by greylisting).
#[derive(Debug, Clone)]
pub struct SmtpSink {
    /// For `SMTP_URL`.
    pub url: String,
    refusals: Arc<AtomicU32>,
    recipients: Arc<Mutex<Vec<String>>>,
    mails: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl SmtpSink {
    /// Starts one on a free port; it ends with the test.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(refusals: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("smtp://{}", listener.local_addr().expect("it is bound"));
        let refusals = Arc::new(AtomicU32::new(refusals));
        let sink = Self { url, refusals, recipients: Arc::default(), mails: Arc::default() };
        let serving = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().converse(stream));
            }
        });
        sink
    }

    /// Every `RCPT TO` that it was asked, in order.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mails that it took, in order.
    #[must_use]
    pub fn mails(&self) -> Vec<Vec<u8>> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// RFC 5321, as much of it as a client without extensions needs.
    async fn converse(self, stream: TcpStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut mail: Option<Vec<u8>> = None;
        writer.write_all(b"220 sink\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let reply = match &mut mail {
                Some(_) if line == "." => {
                    let whole = mail.take().unwrap_or_default();
                    self.mails.lock().unwrap_or_else(PoisonError::into_inner).push(whole);
                    "250 taken"
                }
                Some(content) => {
                    // A leading dot was doubled on its way (RFC 5321, 4.5.2).
                    content.extend_from_slice(line.strip_prefix('.').unwrap_or(&line).as_bytes());
                    content.extend_from_slice(b"\r\n");
                    continue;
                }
                None => match line.get(..4).unwrap_or(&line).to_ascii_uppercase().as_str() {
                    "RCPT" => self.recipient(&line),
                    "DATA" => {
                        mail = Some(Vec::new());
                        "354 go on"
                    }
                    _ => "250 fine",
                },
            };
            writer.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        Ok(())
    }

    fn recipient(&self, line: &str) -> &'static str {
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        let left = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { "451 4.7.1 try again in a moment" } else { "250 fine" }
    }
}
