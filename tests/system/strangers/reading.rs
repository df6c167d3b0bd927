//! Clients that do not read their answers.

use std::time::Duration;

use orderflow_tests::{Scrape, Shop, memory, until, until_within};
use reqwest::StatusCode;
use tokio::net::TcpStream;

use super::{connect, send, stays_small};

/// The number of clients that do not read. With their whole answers in memory they would hold 600 MB.
const CLIENTS: usize = 300;

/// Enough products that a legitimate answer has two megabytes.
const PRODUCTS: &str = "INSERT INTO catalogue.products (sku, name, price, currency, position)
    SELECT 'SPARE-' || n, 'A spare part of which there are many, number ' || n, 100, 'EUR', 1000 + n
    FROM generate_series(1, 15000) AS n";

/// Requests more than the system's buffers hold, and reads nothing.
async fn greedy(address: std::net::SocketAddr) -> TcpStream {
    let mut connection = connect(address).await;
    let asks = format!("GET /products HTTP/1.1\r\nHost: {address}\r\n\r\n");
    send(&mut connection, &asks.repeat(8)).await;
    connection
}

/// A client that does not read holds at most 48 KiB of its answer, and is cut off after 30 s. Meanwhile clients that read
/// are served; afterwards the memory is released.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_are_cut_off_and_their_memory_is_released() {
    let mut shop = Shop::open().await;
    shop.execute(PRODUCTS).await;
    let web = shop.start_web().await;
    let address = shop.webs()[0].address().await;
    let operators = shop.webs()[0].logged_address("at").await;
    until("the front end lists the whole catalogue", async || {
        let listed = web.get("/products", &[]).await.body["items"].as_array().map_or(0, Vec::len);
        if listed > 15_000 { Ok(()) } else { Err(listed) }
    })
    .await;
    let before = Scrape::of(operators).await.sum("process_open_fds", &[]);

    let silent = futures::future::join_all((0..CLIENTS).map(|_| greedy(address))).await;
    assert_eq!(web.get("/products", &[]).await.status, StatusCode::OK, "a client that reads is served");
    stays_small(&shop.webs()[0]);

    until_within(Duration::from_secs(90), "all of them are cut off", async || {
        let scrape = Scrape::of(operators).await;
        let cut_off = scrape.sum("orderflow_http_cut_off_total", &[("reason", "unread")]);
        let open = scrape.sum("process_open_fds", &[]);
        #[expect(clippy::cast_precision_loss, reason = "hundreds")]
        let all = CLIENTS as f64;
        if cut_off >= all && open <= before + 5.0 { Ok(()) } else { Err((cut_off, open)) }
    })
    .await;
    stays_small(&shop.webs()[0]);
    let id = shop.webs()[0].id();
    until("the memory is released", async || {
        let held = memory(id, "RssAnon").expect("it runs");
        if held < 64 * 1024 { Ok(()) } else { Err(held) }
    })
    .await;
    drop(silent);
    shop.close().await;
}
