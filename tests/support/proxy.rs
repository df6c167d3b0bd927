use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};
use url::Url;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What our processes say.
    ToServer,
    /// What they are answered.
    ToClient,
}

/// A wire between our processes and a server, which a test can cut or stall.
///
/// Cut, our processes see a server that is gone: open connections end, new ones are refused. Stalled, they see one that
/// hangs: every connection stays and new ones are taken, but nothing more arrives one way.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: String,
    running: Arc<Mutex<Option<JoinSet<()>>>>,
    stalled: watch::Sender<Option<Way>>,
}

impl Proxy {
    /// A wire to the host and port of this URL.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn to(url: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let target = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let proxy = Self { address, target, running: Arc::default(), stalled: watch::Sender::new(None) };
        proxy.run(listener);
        proxy
    }

    /// The URL by which the server is reached through this wire.
    ///
    /// # Panics
    /// Never: the URL has a host.
    #[must_use]
    pub fn through(&self, url: &Url) -> Url {
        let mut url = url.clone();
        url.set_ip_host(self.address.ip()).expect("the URL has a host");
        url.set_port(Some(self.address.port())).expect("the URL has a host");
        url
    }

    /// Ends every connection and takes no new one.
    pub async fn cut(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = running {
            tasks.shutdown().await;
        }
    }

    /// Takes connections again.
    ///
    /// # Panics
    /// When the port was taken by another process meanwhile.
    pub async fn mend(&self) {
        self.run(TcpListener::bind(self.address).await.expect("the port is still free"));
    }

    /// Holds back whatever goes this way from now on.
    pub fn stall(&self, way: Way) {
        self.stalled.send_replace(Some(way));
    }

    /// Lets everything flow again, what was held back first.
    pub fn flow(&self) {
        self.stalled.send_replace(None);
    }

    fn run(&self, listener: TcpListener) {
        let (target, stalled) = (self.target.clone(), self.stalled.subscribe());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // The connections end with the set that they are in, and that with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (target, stalled) = (target.clone(), stalled.clone());
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        let ((from_client, to_client), (from_server, to_server)) =
                            (client.into_split(), server.into_split());
                        // With the first way that breaks both end.
                        drop(tokio::try_join!(
                            carry(from_client, to_server, Way::ToServer, stalled.clone()),
                            carry(from_server, to_client, Way::ToClient, stalled),
                        ));
                    }
                });
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(tasks);
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    mut stalled: watch::Receiver<Option<Way>>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        // The wire outlives what runs on it, so the channel cannot close.
        drop(stalled.wait_for(|stalled| *stalled != Some(way)).await);
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..count]).await?;
    }
}
