//! A watcher that announces a huge frame.

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

/// A watcher's connection after its handshake.
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

/// The code with which it is closed.
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

/// Right is: closed with 1003 at the header, since a watcher has nothing to send but control frames of 125 bytes; before,
/// the server kept all that came until the frame was whole, half a gigabyte in a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_announces_gigabytes_is_closed_at_its_header() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let address = shop.webs()[0].address().await;

    // The header alone: nothing after it is waited for. Also one that is announced with 126, and a frame in clear.
    for header in [&HUGE[..2], &HUGE, &[0x82, 0xFE, 0x01, 0x00], &[0x89, 0x7E, 0x01, 0x00]] {
        let mut watcher = watching(address, &order).await;
        watcher.write_all(header).await.expect("the connection is open");
        let code = timeout(Duration::from_secs(10), close_code(&mut watcher)).await;
        assert_eq!(code.expect("it is closed at once"), 1003, "{header:?}");
    }

    // And whatever follows is not kept, by ten at a time.
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

    // Another watcher gets everything.
    let mut other = web.watch(&order, None).await;
    assert_eq!(other.message().await["type"], "snapshot");
    let operators = shop.webs()[0].logged_address("at").await;
    // A flood's end may be seen before its header was read: that one has "left".
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

/// A hundred from one ping to the next are more than any client has a reason for; a flood of them costs processor time.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_small_frames_is_closed() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    let address = shop.webs()[0].address().await;
    let mut watcher = watching(address, &order).await;
    // Pongs that nobody asked for, which a client may send.
    let flood = [0x8A, 0x80, 0, 0, 0, 0].repeat(101);
    watcher.write_all(&flood).await.expect("the connection is open");
    let code = timeout(Duration::from_secs(10), close_code(&mut watcher)).await;
    assert_eq!(code.expect("it is closed at once"), 1003);
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    shop.close().await;
}
