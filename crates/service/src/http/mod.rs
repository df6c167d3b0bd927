//! The HTTP servers of our programs: actix-web's, over connections that are bounded in time and memory.
//!
//! actix-web has no time-out for clients that do not read their responses. Nor has it one for a request head that never
//! ends, after a connection's first request. `bounded` adds both below it, at the connection. docs/SECURITY.md lists
//! every bound and the test that proves it.

mod bounded;
mod budget;
mod metrics;
mod transport;

use std::{fmt, io, net::TcpListener, sync::Arc, time::Duration};

use actix_http::{HttpService, Request, Response, error::DispatchError};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{Error, body::MessageBody, dev::AppConfig, rt::net::TcpStream};

use self::{bounded::Bounded, budget::Budget, transport::Transport};
use crate::tls::ServerCertificate;
pub use metrics::answer as metrics;

/// How long an idle connection is kept: longer than proxies keep theirs (usually 60 s), so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a new connection may take for its first request before it gets a 408. A client that opened the connection
/// in advance would take the 408 for the response to a request that it is just sending. So this is longer than clients
/// keep unused connections (90 s in hyper, Go and most browsers).
const FIRST_REQUEST: Duration = Duration::from_secs(120);

/// How long the client of a closing connection may take to read its last response.
const LINGER: Duration = Duration::from_secs(1);

/// The resources that one server of a process may use.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Threads that handle requests.
    pub threads: usize,
    /// Open connections over all threads. Further clients wait in the system's queue.
    pub connections: usize,
    /// Bytes of unanswered requests and unread responses, over all connections. See `budget`.
    pub memory: usize,
    /// How long requests in flight may take once the server stops.
    pub finish: Duration,
}

/// Returns a server of `app` on this listener, with TLS if there is a certificate. It runs while it is awaited and
/// handles no signals; the process does.
///
/// # Errors
/// Fails if the listener or the certificate cannot be used.
pub fn server<F, I, S, B>(
    listener: TcpListener,
    certificate: Option<&Arc<ServerCertificate>>,
    bounds: Bounds,
    app: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as actix_service::Service<Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    let tls = certificate.map(ServerCertificate::serve).transpose().map_err(io::Error::other)?.map(Arc::new);
    let builder = Server::build()
        .workers(bounds.threads)
        .max_concurrent_connections(bounds.connections.div_ceil(bounds.threads))
        .shutdown_timeout(bounds.finish.as_secs())
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let budget = Arc::new(Budget::new(bounds.memory));
    let server = builder.listen("http", listener, move || {
        let (stopping, budget, tls) = (stopping.clone(), Arc::clone(&budget), tls.clone());
        let app = app().into_factory().map_err(|error| error.into().error_response());
        // The same as actix-web's own HttpServer, except for the connection.
        let http = HttpService::<Bounded<Transport>, _, B>::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(FIRST_REQUEST)
            .client_disconnect_timeout(LINGER)
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(move |connection: TcpStream| {
            let peer = connection.peer_addr().ok();
            let (tls, budget) = (tls.clone(), Arc::clone(&budget));
            async move {
                let transport = transport::open(connection, tls, &budget).await.map_err(DispatchError::Io)?;
                Ok((Bounded::new(transport, budget), peer))
            }
        })
        .and_then(http)
    })?;
    Ok(server.run())
}

#[cfg(test)]
mod tests {
    use actix_web::{App, web};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::timeout,
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    async fn ask(connection: &mut TcpStream) {
        connection.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("it is open");
    }

    async fn answered(connection: &mut TcpStream) {
        let mut answer = vec![0; 15];
        timeout(SOON, connection.read_exact(&mut answer)).await.expect("in time").expect("an answer");
        assert_eq!(answer, b"HTTP/1.1 200 OK");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn client_beyond_the_connection_limit_waits_until_another_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let bounds = Bounds { threads: 1, connections: 2, memory: 1_000_000, finish: Duration::from_secs(1) };
        let app = || App::new().route("/", web::get().to(async || "here"));
        let running = server(listener, None, bounds, app).expect("it can listen");
        let handle = running.handle();
        let running = tokio::spawn(running);
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut connection = TcpStream::connect(address).await.expect("it is taken");
            ask(&mut connection).await;
            answered(&mut connection).await;
            open.push(connection);
        }
        let mut waiting = TcpStream::connect(address).await.expect("the system takes it");
        ask(&mut waiting).await;
        assert!(timeout(Duration::from_millis(300), waiting.read_u8()).await.is_err(), "it is not answered");
        open.pop();
        answered(&mut waiting).await;
        handle.stop(false).await;
        running.await.expect("no panic").expect("it ends well");
    }
}
