use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use url::Url;

/// A wire between our processes and a server, which a test can cut.
///
/// What our processes see is a server that is gone: open connections end, new ones are refused.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: String,
    running: Arc<Mutex<Option<JoinSet<()>>>>,
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
        let proxy = Self { address, target, running: Arc::default() };
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

    fn run(&self, listener: TcpListener) {
        let target = self.target.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // The connections end with the set that they are in, and that with this task.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let target = target.clone();
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        drop(copy_bidirectional(&mut client, &mut server).await);
                    }
                });
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(tasks);
    }
}
