//! Watchers that send huge or many frames.

use std::{net::SocketAddr, time::Duration};

use orderflow_tests::{Order, Scrape, Shop, VISA, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{connect, send, stays_small};

/// A binary frame of 4 GiB, masked by zeros.
const HUGE: [u8; 14] = [0x82, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

/// Opens a watcher's connection and completes the handshake.
async fn watching(address: SocketAddr, order: &Order) -> TcpStream {
    let mut connection = connect(address).await;
    let handshake = format!(
        "GET /orders/{}/live HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {}\r\n\r\n",
        order.id, order.token
    );
    send(&mut connection, &handshake).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.expect("a whole head"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    connection
}

/// Reads until the close frame and returns its code.
async fn close_code(connection: &mut TcpStream) -> u16 {
    loop {
        let (kind, length) =
            (connection.read_u8().await.expect("a frame"), connection.read_u8().await.expect("a frame"));
        let length = match length {
            126 => connection.read_u16().await.expect("its length"),
            short => u16::from(short),
        };
        let mut content = vec![0; usize::from(length)];
        connection.read_exact(&mut content).await.expect("its content");
        if kind == 0x88 {
            return u16::from_be_bytes([content[0], content[1]]);
        }
    }
}

/// The server closes with 1003 at the header, since a watcher sends only control frames of at most 125 bytes. Without
/// this, it buffered the frame until it was complete: half a gigabyte in a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_announces_gigabytes_is_closed_at_its_header() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let address = shop.webs()[0].address().await;

    // The header alone is enough. Also try a 16-bit length and an unmasked frame.
    for header in [&HUGE[..2], &HUGE, &[0x82, 0xFE, 0x01, 0x00], &[0x89, 0x7E, 0x01, 0x00]] {
        let mut watcher = watching(address, &order).await;
        watcher.write_all(header).await.expect("the connection is open");
        let code = timeout(Duration::from_secs(10), close_code(&mut watcher)).await;
        assert_eq!(code.expect("it is closed immediately"), 1003, "{header:?}");
    }

    // The server does not buffer what follows, even from ten watchers concurrently.
    let floods = (0..10).map(|_| async {
        let mut watcher = watching(address, &order).await;
        watcher.write_all(&HUGE).await.expect("the connection is open");
        let piece = vec![0; 1024 * 1024];
        for sent in 0..64 {
            if watcher.write_all(&piece).await.is_err() {
                return sent;
            }
        }
        64
    });
    let sent = futures::future::join_all(floods).await;
    assert!(sent.iter().all(|megabytes| *megabytes < 64), "cut off after {sent:?} MiB");
    stays_small(&shop.webs()[0]);

    // Another watcher is served.
    let mut other = web.watch(&order, None).await;
    assert_eq!(other.message().await["type"], "snapshot");
    let operators = shop.webs()[0].logged_address("at").await;
    // The server may see a flood's end before its header, and then counts it as "left".
    until("all of them are counted", async || {
        let scrape = Scrape::of(operators).await;
        let [unasked, left] =
            ["unasked", "left"].map(|reason| scrape.sum("orderflow_live_closed_total", &[("reason", reason)]));
        if unasked >= 4.0 && unasked + left >= 14.0 { Ok(()) } else { Err((unasked, left)) }
    })
    .await;
    other.leave().await;
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    shop.close().await;
}

/// No client needs a hundred frames between two pings, and a flood of them costs processor time.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_small_frames_is_closed() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let address = shop.webs()[0].address().await;
    let mut watcher = watching(address, &order).await;
    // Unsolicited pongs, which a client may send.
    let flood = [0x8A, 0x80, 0, 0, 0, 0].repeat(101);
    watcher.write_all(&flood).await.expect("the connection is open");
    let code = timeout(Duration::from_secs(10), close_code(&mut watcher)).await;
    assert_eq!(code.expect("it is closed immediately"), 1003);
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    shop.close().await;
}
