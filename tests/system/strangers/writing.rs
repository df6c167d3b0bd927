//! Clients whose requests are too large, or never end.

use std::time::Duration;

use orderflow_tests::{Shop, key};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{connect, send};

/// Reads everything until the server closes the connection.
async fn whole(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(60), connection.read_to_end(&mut answer)).await.expect("it is closed");
    // The server may reset the connection after its answer, because it has not read everything that was sent.
    drop(ended);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_end_is_answered_408_after_ten_seconds() {
    let mut shop = Shop::open().await;
    shop.start_web().await;
    let address = shop.webs()[0].address().await;
    let mut connection = connect(address).await;
    let head = format!(
        "POST /orders HTTP/1.1\r\nHost: {address}\r\nIdempotency-Key: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n{{",
        key()
    );
    let began = Instant::now();
    send(&mut connection, &head).await;
    let answer = whole(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("/problems/request-timeout"), "{answer}");
    assert!((10..20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    shop.close().await;
}

/// 128 KiB is actix's own limit; a proxy in front has a smaller one.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_beyond_128_kib_is_refused() {
    let mut shop = Shop::open().await;
    shop.start_web().await;
    let address = shop.webs()[0].address().await;
    let mut connection = connect(address).await;
    send(&mut connection, &format!("GET / HTTP/1.1\r\nHost: {address}\r\nX-Long: ")).await;
    // The server may close before everything is sent.
    drop(connection.write_all(&[b'x'; 200 * 1024]).await);
    let answer = whole(&mut connection).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    shop.close().await;
}
