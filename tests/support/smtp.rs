//! Mail servers for tests: RFC 5321, as much of it as a client without extensions needs.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::certificates::{Authority, Issued};

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

    /// Its certificate and key, where it offers STARTTLS now.
    fn starttls(&self) -> Option<Arc<ServerConfig>> {
        None
    }

    /// A command as it came, and whether that was encrypted.
    fn hear(&self, _line: &str, _encrypted: bool) {}
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

/// Both ways of a conversation, encrypted or not.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Conversation = BufStream<Box<dyn Wire>>;

async fn converse(postbox: &impl Postbox, stream: TcpStream) -> io::Result<()> {
    let mut with: Conversation = BufStream::new(Box::new(stream));
    if let Some(refusal) = postbox.refusal() {
        return say(&mut with, refusal).await;
    }
    say(&mut with, "220 a mail server for tests").await?;
    let (mut recipient, mut encrypted) = (String::new(), false);
    while let Some(line) = hear(&mut with).await? {
        postbox.hear(&line, encrypted);
        let offer = postbox.starttls().filter(|_| !encrypted);
        let reply = match (line.get(..4).unwrap_or(&line).to_ascii_uppercase().as_str(), offer) {
            ("EHLO", Some(_)) => "250-fine\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS",
            ("EHLO", None) if encrypted => "250-fine\r\n250 AUTH PLAIN LOGIN",
            ("STAR", Some(config)) => {
                say(&mut with, "220 go on").await?;
                with = BufStream::new(Box::new(TlsAcceptor::from(config).accept(with.into_inner()).await?));
                encrypted = true;
                continue;
            }
            ("RCPT", _) => {
                recipient =
                    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).unwrap_or_default().0.to_owned();
                postbox.recipient(&line)
            }
            ("DATA", _) => {
                say(&mut with, "354 go on").await?;
                let Some(mail) = content(&mut with).await? else { return Ok(()) };
                postbox.mail(std::mem::take(&mut recipient), mail).await
            }
            ("AUTH", _) => "235 welcome",
            ("QUIT", _) => return say(&mut with, "221 good bye").await,
            _ => postbox.command(&line).unwrap_or("250 fine"),
        };
        say(&mut with, reply).await?;
    }
    Ok(())
}

async fn say(to: &mut Conversation, what: &str) -> io::Result<()> {
    to.write_all(format!("{what}\r\n").as_bytes()).await?;
    to.flush().await
}

/// A line without its end; `None` when nothing more comes.
async fn hear(from: &mut Conversation) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = from.read_line(&mut line).await?;
    Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The mail up to the line with a dot; `None` if the client went away before it.
async fn content(from: &mut Conversation) -> io::Result<Option<String>> {
    let mut content = String::new();
    while let Some(line) = hear(from).await? {
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
    starttls: Arc<Mutex<Option<Arc<ServerConfig>>>>,
    heard: Arc<Mutex<Vec<(String, bool)>>>,
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
        let (recipients, mails) = Default::default();
        let sink = Self { url, refusals, recipients, mails, starttls: Arc::default(), heard: Arc::default() };
        tokio::spawn(serve_mail(listener, Arc::new(sink.clone())));
        sink
    }

    /// Offers STARTTLS from now on, with a certificate for `localhost` that is made here. Returns what it is signed by, in PEM,
    /// for who is to trust it.
    ///
    /// # Panics
    /// When no certificate can be made.
    pub fn offer_starttls(&self) -> String {
        let authority = Authority::new("Of the mail server");
        self.offer_starttls_with(&authority.server(&["localhost"]));
        authority.certificate().to_owned()
    }

    /// Offers STARTTLS with this certificate from now on.
    ///
    /// # Panics
    /// When certificate and key are not each other's.
    pub fn offer_starttls_with(&self, issued: &Issued) {
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
        let config =
            ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("some versions of TLS")
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)
                .expect("the certificate's own key");
        *self.starttls.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(config));
    }

    /// Every command that it was given outside of mails, in order, and whether it came encrypted.
    #[must_use]
    pub fn heard(&self) -> Vec<(String, bool)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    fn starttls(&self) -> Option<Arc<ServerConfig>> {
        self.starttls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hear(&self, line: &str, encrypted: bool) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push((line.to_owned(), encrypted));
    }
}
