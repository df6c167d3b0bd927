//! Mail servers for tests: RFC 5321, as much of it as a client without extensions needs.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// The longest mail that is taken, in bytes: far more than any of ours.
const LONGEST: usize = 1_000_000;

/// What a mail server answers, and what it keeps.
pub trait Postbox: Send + Sync + 'static {
    /// What it says instead of a greeting, if it wants nobody.
    fn refusal(&self) -> Option<&'static str> {
        None
    }

    /// What it says to a `RCPT TO`; what begins with 250 is taken.
    fn recipient(&self, line: &str) -> &'static str;

    /// What it says to a mail for this recipient, with lines that end with CRLF. Until it says something nothing goes on.
    fn mail(&self, recipient: String, content: String) -> impl Future<Output = &'static str> + Send;

    /// What it says to a command that no other mail server knows.
    fn command(&self, _: &str) -> Option<&'static str> {
        None
    }
}

/// Serves for ever.
///
/// # Errors
/// When no more connections can be taken.
pub async fn serve_mail(listener: TcpListener, postbox: Arc<impl Postbox>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let postbox = Arc::clone(&postbox);
        // A client that goes away in the middle of a conversation has said nothing.
        tokio::spawn(async move { drop(converse(&*postbox, stream).await) });
    }
}

async fn converse(postbox: &impl Postbox, stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    if let Some(refusal) = postbox.refusal() {
        return say(&mut writer, refusal).await;
    }
    say(&mut writer, "220 a mail server for tests").await?;
    let mut recipient = String::new();
    while let Some(line) = lines.next_line().await? {
        let reply = match line.get(..4).unwrap_or(&line).to_ascii_uppercase().as_str() {
            "RCPT" => {
                recipient =
                    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).unwrap_or_default().0.to_owned();
                postbox.recipient(&line)
            }
            "DATA" => {
                say(&mut writer, "354 go on").await?;
                let Some(mail) = content(&mut lines).await? else { return Ok(()) };
                postbox.mail(std::mem::take(&mut recipient), mail).await
            }
            "QUIT" => return say(&mut writer, "221 good bye").await,
            _ => postbox.command(&line).unwrap_or("250 fine"),
        };
        say(&mut writer, reply).await?;
    }
    Ok(())
}

async fn say(writer: &mut OwnedWriteHalf, what: &str) -> io::Result<()> {
    writer.write_all(format!("{what}\r\n").as_bytes()).await
}

/// The mail up to the line with a dot; `None` if the client went away before it.
async fn content(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> io::Result<Option<String>> {
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
        content.push_str("\r\n");
    }
    Ok(None)
}

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
        tokio::spawn(serve_mail(listener, Arc::new(sink.clone())));
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
}

impl Postbox for SmtpSink {
    fn recipient(&self, line: &str) -> &'static str {
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        let left = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { "451 4.7.1 try again in a moment" } else { "250 fine" }
    }

    async fn mail(&self, _: String, content: String) -> &'static str {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).push(content.into_bytes());
        "250 taken"
    }
}
