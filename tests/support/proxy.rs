//! A TCP proxy that can cut, reset, stall, slow down or half-open its connections.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use url::Url;

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From our processes to the server.
    ToServer,
    /// From the server to our processes.
    ToClient,
}

/// The disturbances of the traffic through a proxy.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// The direction in which bytes are held back.
    stalled: Option<Way>,
    /// The delay of each piece, and of everything after it.
    latency: Duration,
}

/// How existing connections end, while new ones are accepted.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Both ends receive an RST.
    Reset,
    /// The server's end is closed and the client's is not, as when a firewall forgets the connection: the client's
    /// bytes are discarded, and it never receives anything.
    HalfOpen,
}

/// A proxy between our processes and a server, which a test can break.
///
/// When it is cut, the server seems to be down: open connections end and new ones are refused. When it is stalled, the
/// server seems to hang: connections stay open and new ones are accepted, but nothing arrives in one direction.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: String,
    running: Arc<Mutex<Option<JoinSet<()>>>>,
    weather: watch::Sender<Weather>,
    end: watch::Sender<Option<End>>,
}

impl Proxy {
    /// Starts a proxy to the host and port of this URL.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn to(url: &Url) -> Self {
        Self::on(Ipv4Addr::LOCALHOST.into(), url).await
    }

    /// Like [`Proxy::to`], but listens on this address of this machine.
    ///
    /// # Panics
    /// Panics if no port is free there.
    pub async fn on(address: IpAddr, url: &Url) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let target = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let (weather, end) = (watch::Sender::default(), watch::Sender::default());
        let proxy = Self { address, target, running: Arc::default(), weather, end };
        proxy.run(listener);
        proxy
    }

    /// Returns the address at which our processes reach the server.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL that reaches the server through this proxy.
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

    /// Ends every connection and refuses new ones.
    pub async fn cut(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = running {
            tasks.shutdown().await;
        }
    }

    /// Accepts connections again.
    ///
    /// # Panics
    /// Panics if another process has taken the port.
    pub async fn mend(&self) {
        self.run(TcpListener::bind(self.address).await.expect("the port is still free"));
    }

    /// Holds back all bytes in this direction from now on.
    pub fn stall(&self, way: Way) {
        self.weather.send_modify(|weather| weather.stalled = Some(way));
    }

    /// Lets bytes flow again, beginning with those held back.
    pub fn flow(&self) {
        self.weather.send_modify(|weather| weather.stalled = None);
    }

    /// Delays each piece by `latency` from now on; everything after it waits.
    pub fn slow_down(&self, latency: Duration) {
        self.weather.send_modify(|weather| weather.latency = latency);
    }

    /// Ends every existing connection with an RST, which discards the bytes in flight.
    pub fn reset(&self) {
        self.end.send_replace(Some(End::Reset));
    }

    /// Ends the server's half of every existing connection; the client does not notice.
    pub fn half_open(&self) {
        self.end.send_replace(Some(End::HalfOpen));
    }

    fn run(&self, listener: TcpListener) {
        let (target, weather, mut end) = (self.target.clone(), self.weather.subscribe(), self.end.subscribe());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // The connections end with their set, and the set with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                // Ignore the end of earlier connections.
                end.mark_unchanged();
                connections.spawn(connect(client, target.clone(), weather.clone(), end.clone()));
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(tasks);
    }
}

/// Carries one connection until one of its ends or the proxy closes it.
async fn connect(
    mut client: TcpStream,
    target: String,
    weather: watch::Receiver<Weather>,
    mut end: watch::Receiver<Option<End>>,
) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let ended = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let carried = async {
            // Both directions end when the first one fails.
            drop(tokio::try_join!(
                carry(from_client, to_server, Way::ToServer, weather.clone()),
                carry(from_server, to_client, Way::ToClient, weather),
            ));
        };
        tokio::select! {
            () = carried => None,
            // The proxy outlives its connections, so the channel cannot close.
            _ = end.changed() => *end.borrow(),
        }
    };
    match ended {
        None => {}
        Some(End::Reset) => {
            for socket in [&client, &server] {
                drop(socket.set_zero_linger());
            }
        }
        Some(End::HalfOpen) => {
            drop(server);
            // Until the client closes it.
            drop(tokio::io::copy(&mut client, &mut tokio::io::sink()).await);
        }
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        let latency = weather.borrow().latency;
        if !latency.is_zero() {
            sleep(latency).await;
        }
        drop(weather.wait_for(|weather| weather.stalled != Some(way)).await);
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..count]).await?;
    }
}
