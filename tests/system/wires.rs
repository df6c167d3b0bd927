//! Proves that the proxies with which other tests break connections do break them.

use std::{io::ErrorKind, time::Duration};

use orderflow_tests::Proxy;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

/// Returns the result of a future that must complete within ten seconds.
async fn soon<T>(happens: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), happens).await.expect("it happens soon")
}

async fn wire() -> (Proxy, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("tcp://{}", listener.local_addr().expect("it is bound")).parse().expect("a URL");
    (Proxy::to(&url).await, listener)
}

/// Returns a client and its server that have exchanged a byte through the proxy.
async fn connect(wire: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(wire.address()).await.expect("the proxy accepts connections");
    let (mut server, _) = listener.accept().await.expect("it comes through");
    client.write_all(b"a").await.expect("it is sent");
    assert_eq!(soon(server.read_u8()).await.expect("it arrives"), b'a');
    (client, server)
}

#[tokio::test]
async fn both_ends_of_a_reset_connection_see_it_immediately() {
    let (wire, listener) = wire().await;
    let (mut client, mut server) = connect(&wire, &listener).await;
    wire.reset();
    for end in [&mut client, &mut server] {
        assert_eq!(soon(end.read_u8()).await.expect_err("the connection is reset").kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn client_of_a_half_open_connection_sees_nothing_and_can_still_send() {
    let (wire, listener) = wire().await;
    let (mut client, mut server) = connect(&wire, &listener).await;
    wire.half_open();
    assert_eq!(soon(server.read(&mut [0])).await.expect("the connection ends"), 0, "the server sees the end");
    client.write_all(&[b'b'; 100_000]).await.expect("nothing refuses it");
    assert!(timeout(Duration::from_millis(200), client.read_u8()).await.is_err(), "nothing ever comes");
    // Later connections work.
    connect(&wire, &listener).await;
}

#[tokio::test]
async fn data_over_a_slow_connection_arrives_late() {
    let (wire, listener) = wire().await;
    let (mut client, mut server) = connect(&wire, &listener).await;
    let latency = Duration::from_millis(300);
    wire.slow_down(latency);
    let began = Instant::now();
    client.write_all(b"c").await.expect("it is sent");
    assert_eq!(soon(server.read_u8()).await.expect("it arrives"), b'c');
    assert!(began.elapsed() >= latency, "{:?}", began.elapsed());
}
