//! A wire that can be cut, reset, stalled, slowed down, or forgotten by what stands between its ends.

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

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What our processes say.
    ToServer,
    /// What they are answered.
    ToClient,
}

/// What a wire does to what runs over it.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// What goes this way is held back.
    stalled: Option<Way>,
    /// How much later each piece arrives, and what comes after it.
    latency: Duration,
}

/// How the connections that there are end, while new ones can be made.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Both ends are told, by an RST.
    Reset,
    /// The server is told and the client is not, as by a firewall that forgot the connection: whatever the client says from
    /// now on goes nowhere, and nothing ever comes.
    HalfOpen,
}

/// A wire between our processes and a server, which a test can break.
///
/// Cut, our processes see a server that is gone: open connections end, new ones are refused. Stalled, they see one that
/// hangs: every connection stays and new ones are taken, but nothing more arrives one way.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: String,
    running: Arc<Mutex<Option<JoinSet<()>>>>,
    weather: watch::Sender<Weather>,
    end: watch::Sender<Option<End>>,
}

impl Proxy {
    /// A wire to the host and port of this URL.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn to(url: &Url) -> Self {
        Self::on(Ipv4Addr::LOCALHOST.into(), url).await
    }

    /// As [`Proxy::to`], at this address of this machine.
    ///
    /// # Panics
    /// When no port can be had there.
    pub async fn on(address: IpAddr, url: &Url) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let target = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let (weather, end) = (watch::Sender::default(), watch::Sender::default());
        let proxy = Self { address, target, running: Arc::default(), weather, end };
        proxy.run(listener);
        proxy
    }

    /// Where our processes reach the server.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
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
        self.weather.send_modify(|weather| weather.stalled = Some(way));
    }

    /// Lets everything flow again, what was held back first.
    pub fn flow(&self) {
        self.weather.send_modify(|weather| weather.stalled = None);
    }

    /// From now on each piece takes so long, and what comes after it waits.
    pub fn slow_down(&self, latency: Duration) {
        self.weather.send_modify(|weather| weather.latency = latency);
    }

    /// Ends every connection that there is by an RST, which does not let what was on its way arrive.
    pub fn reset(&self) {
        self.end.send_replace(Some(End::Reset));
    }

    /// Ends the server's half of every connection that there is; the client is never told.
    pub fn half_open(&self) {
        self.end.send_replace(Some(End::HalfOpen));
    }

    fn run(&self, listener: TcpListener) {
        let (target, weather, mut end) = (self.target.clone(), self.weather.subscribe(), self.end.subscribe());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // The connections end with the set that they are in, and that with this task.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                // What ended those before it is nothing to this one.
                end.mark_unchanged();
                connections.spawn(connect(client, target.clone(), weather.clone(), end.clone()));
            }
        });
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(tasks);
    }
}

/// One connection, until one of its ends closes it or the wire does.
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
            // With the first way that breaks both end.
            drop(tokio::try_join!(
                carry(from_client, to_server, Way::ToServer, weather.clone()),
                carry(from_server, to_client, Way::ToClient, weather),
            ));
        };
        tokio::select! {
            () = carried => None,
            // The wire outlives what runs on it, so the channel cannot close.
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
            // Until the client gives it up by itself.
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
