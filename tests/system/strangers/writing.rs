//! Clients whose requests are too large, or never end.

use std::{net::SocketAddr, time::Duration};

use orderflow_tests::{Scrape, Shop, key, until};
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{connect, send, stays_small};

/// Reads everything until the server closes the connection.
async fn whole(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(60), connection.read_to_end(&mut answer)).await.expect("it is closed");
    // The server may reset the connection after its answer, because it has not read everything that was sent.
    drop(ended);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the beginning of an order whose body has more bytes than are sent.
fn unfinished(address: SocketAddr, announced: usize, body: &str) -> String {
    format!(
        "POST /orders HTTP/1.1\r\nHost: {address}\r\nIdempotency-Key: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {announced}\r\n\r\n{body}",
        key()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_end_is_answered_408_after_ten_seconds() {
    let mut shop = Shop::open().await;
    shop.start_web().await;
    let address = shop.webs()[0].address().await;
    let mut connection = connect(address).await;
    let began = Instant::now();
    send(&mut connection, &unfinished(address, 1_000, "{")).await;
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

/// Each request is permitted, but together they hold 36 MB, and the limit is 24 MiB (`MEMORY` in src/web/server.rs).
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_together_send_too_much_are_cut_off_and_others_are_served() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let address = shop.webs()[0].address().await;
    let operators = shop.webs()[0].logged_address("at").await;
    let sending = (0..600).map(|_| async move {
        let mut connection = connect(address).await;
        // The server may cut it off before everything is sent.
        drop(connection.write_all(unfinished(address, 60_001, &" ".repeat(60_000)).as_bytes()).await);
        connection
    });
    let open = futures::future::join_all(sending).await;
    until("some are cut off", async || {
        let scrape = Scrape::of(operators).await;
        let cut_off = scrape.sum("orderflow_http_cut_off_total", &[("reason", "memory")]);
        if cut_off > 0.0 { Ok(()) } else { Err(cut_off) }
    })
    .await;
    assert_eq!(web.get("/products", &[]).await.status, StatusCode::OK, "another client is served");
    stays_small(&shop.webs()[0]);
    drop(open);
    shop.close().await;
}
