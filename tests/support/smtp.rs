//! Mail servers for tests: the part of RFC 5321 that a client without extensions needs.

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

/// The longest mail that is accepted, in bytes: far longer than any of ours.
const LONGEST: usize = 1_000_000;

/// A mail server's answers and storage.
pub trait Postbox: Send + Sync + 'static {
    /// Returns the reply that replaces the greeting, if the server refuses connections.
    fn refusal(&self) -> Option<&'static str> {
        None
    }

    /// Returns the reply to a `RCPT TO`; a reply that begins with 250 accepts the recipient.
    fn recipient(&self, line: &str) -> &'static str;

    /// Returns the reply to a mail for this recipient, whose lines end with CRLF. The conversation pauses until then.
    fn mail(&self, recipient: String, content: String) -> impl Future<Output = &'static str> + Send;

    /// Returns the reply to a command that only this mail server knows.
    fn command(&self, _: &str) -> Option<&'static str> {
        None
    }

    /// Returns the certificate and key if the server offers STARTTLS now.
    fn starttls(&self) -> Option<Arc<ServerConfig>> {
        None
    }

    /// Records a command as received, and whether it was encrypted.
    fn hear(&self, _line: &str, _encrypted: bool) {}
}

/// Serves for ever.
///
/// # Errors
/// Fails if no more connections can be accepted.
pub async fn serve_mail(listener: TcpListener, postbox: Arc<impl Postbox>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let postbox = Arc::clone(&postbox);
        // Ignore clients that disconnect in the middle of a conversation.
        tokio::spawn(async move { drop(converse(&*postbox, stream).await) });
    }
}

/// Both directions of a conversation, encrypted or not.
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
                say(&mut with, "220 ready").await?;
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
                say(&mut with, "354 send the mail").await?;
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

/// Reads a line without its CRLF; `None` at the end of the stream.
async fn hear(from: &mut Conversation) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = from.read_line(&mut line).await?;
    Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Reads a mail up to the line with a dot; `None` if the client disconnects before it.
async fn content(from: &mut Conversation) -> io::Result<Option<String>> {
    let mut content = String::new();
    while let Some(line) = hear(from).await? {
        if line == "." {
            return Ok(Some(content));
        }
        if content.len() + line.len() > LONGEST {
            return Err(io::Error::other("too long"));
        }
        // The client doubles a leading dot (RFC 5321, 4.5.2).
        content.push_str(line.strip_prefix('.').unwrap_or(&line));
        content.push_str("\r\n");
    }
    Ok(None)
}

/// A mail server that keeps the mails it receives, and refuses the first recipients temporarily (451, as greylisting
/// does).
#[derive(Debug, Clone)]
pub struct SmtpSink {
    /// The value for `SMTP_URL`.
    pub url: String,
    refusals: Arc<AtomicU32>,
    recipients: Arc<Mutex<Vec<String>>>,
    mails: Arc<Mutex<Vec<Vec<u8>>>>,
    starttls: Arc<Mutex<Option<Arc<ServerConfig>>>>,
    heard: Arc<Mutex<Vec<(String, bool)>>>,
}

impl SmtpSink {
    /// Starts a server on a free port; it ends with the test.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn start(refusals: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("smtp://{}", listener.local_addr().expect("it is bound"));
        let refusals = Arc::new(AtomicU32::new(refusals));
        let (recipients, mails) = Default::default();
        let sink = Self { url, refusals, recipients, mails, starttls: Arc::default(), heard: Arc::default() };
        tokio::spawn(serve_mail(listener, Arc::new(sink.clone())));
        sink
    }

    /// Offers STARTTLS from now on, with a new certificate for `localhost`. Returns the CA's certificate in PEM, for
    /// the clients that must trust it.
    ///
    /// # Panics
    /// Panics if no certificate can be created.
    pub fn offer_starttls(&self) -> String {
        let authority = Authority::new("Of the mail server");
        self.offer_starttls_with(&authority.server(&["localhost"]));
        authority.certificate().to_owned()
    }

    /// Offers STARTTLS with this certificate from now on.
    ///
    /// # Panics
    /// Panics if the key does not belong to the certificate.
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

    /// Returns every command received outside of mails, in order, and whether it was encrypted.
    #[must_use]
    pub fn heard(&self) -> Vec<(String, bool)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns every `RCPT TO` received, in order.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        self.recipients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the mails that it accepted, in order.
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
