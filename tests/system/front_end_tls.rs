//! The front end serves TLS itself and picks up a renewed certificate without a restart.

use std::{io, time::Duration};

use orderflow_tests::{Authority, Issued, Shop, run, until};
use reqwest::{Certificate, Client, StatusCode};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::commands::{ended, with};

/// Returns a client that trusts only this CA.
fn client(authority: &Authority) -> Client {
    let root = Certificate::from_pem(authority.certificate().as_bytes()).expect("a certificate");
    Client::builder().tls_certs_only([root]).timeout(Duration::from_secs(30)).build().expect("a client")
}

fn settings(directory: &TempDir, issued: &Issued) -> [(&'static str, String); 3] {
    let [certificate, key] = issued.write(directory.path(), "shop").map(|path| path.display().to_string());
    [("TLS_CERTIFICATE", certificate), ("TLS_KEY", key), ("PUBLIC_URL", "https://localhost".to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn front_end_serves_tls_and_uses_a_renewed_certificate_without_a_restart() {
    let mut shop = Shop::open().await;
    let directory = TempDir::new().expect("a directory");
    let (first, second) = (Authority::new("First"), Authority::new("Second"));
    let given = settings(&directory, &first.server(&["localhost"]));
    let given: Vec<_> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let root = shop.start_encrypted_web(&given).await;
    let get = async |client: &Client, path: &str| client.get(root.join(path).expect("a path")).send().await;
    // The front end listens before it has reached the database.
    until("the front end is ready", async || {
        let status = get(&client(&first), "/readyz").await.expect("it answers").status();
        if status == StatusCode::OK { Ok(()) } else { Err(status) }
    })
    .await;
    let answer = get(&client(&first), "/products").await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(get(&client(&second), "/products").await.is_err(), "a client of another CA must reject the certificate");

    // An open connection stays usable while new ones see the renewed certificate.
    let before = client(&first);
    get(&before, "/products").await.expect("it answers");
    second.server(&["localhost"]).write(directory.path(), "shop");
    let after = client(&second);
    until("the front end presents the renewed certificate", async || get(&after, "/products").await.map(drop)).await;
    get(&before, "/products").await.expect("its connection is still open");
    assert!(get(&client(&first), "/products").await.is_err(), "a new connection sees the renewed certificate");

    // Invalid files leave the current certificate in use.
    std::fs::write(directory.path().join("shop.key"), "nothing").expect("our own file");
    shop.webs()[0].until_logged("shop.key has no").await;
    get(&client(&second), "/products").await.expect("the previous certificate is in use");
    shop.close().await;
}

/// A client that does not speak TLS, or stalls in the handshake, gets no answer and ties up nothing.
#[tokio::test(flavor = "multi_thread")]
async fn client_without_tls_gets_no_answer() {
    let mut shop = Shop::open().await;
    let directory = TempDir::new().expect("a directory");
    let given = settings(&directory, &Authority::new("Ours").server(&["localhost"]));
    let given: Vec<_> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let root = shop.start_encrypted_web(&given).await;
    let address = ("127.0.0.1", root.port().expect("a port"));
    let mut clear = TcpStream::connect(address).await.expect("it listens");
    clear.write_all(b"GET /products HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), clear.read_to_end(&mut answer)).await.expect("it ends");
    assert!(read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) || !answer.starts_with(b"HTTP"));

    // A handshake may take at most ten seconds, however slowly its bytes arrive.
    let mut slow = TcpStream::connect(address).await.expect("it listens");
    let began = std::time::Instant::now();
    // The header of a 512-byte record that never arrives completely.
    slow.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.expect("it is sent");
    let ended = async {
        loop {
            if slow.write_all(&[1]).await.is_err() {
                break;
            }
            let mut byte = [0];
            let read = tokio::time::timeout(Duration::from_millis(200), slow.read(&mut byte)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), ended).await.expect("it is cut off");
    let lasted = began.elapsed().as_secs();
    assert!((9..=30).contains(&lasted), "it was cut off after {lasted} s");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_certificate_is_reported_at_start() {
    let directory = TempDir::new().expect("a directory");
    let issued = Authority::new("Ours").server(&["localhost"]);
    let [certificate, key] = issued.write(directory.path(), "right").map(|path| path.display().to_string());
    let [_, other] = Authority::new("Ours").server(&["localhost"]).write(directory.path(), "other");
    let other = other.display().to_string();
    let https = ("PUBLIC_URL", "https://localhost");
    for (given, says) in [
        (vec![("TLS_CERTIFICATE", certificate.as_str()), https], ["TLS_CERTIFICATE", "with it TLS_KEY has to be set"]),
        (vec![("TLS_KEY", key.as_str()), https], ["TLS_KEY", "with it TLS_CERTIFICATE has to be set"]),
        (vec![("TLS_CERTIFICATE", "/no/such"), ("TLS_KEY", &key), https], ["TLS_CERTIFICATE", "cannot be read"]),
        (
            vec![("TLS_CERTIFICATE", &certificate), ("TLS_KEY", &other), https],
            ["TLS_CERTIFICATE", "cannot be used together"],
        ),
        (vec![("TLS_CERTIFICATE", &key), ("TLS_KEY", &key), https], ["TLS_CERTIFICATE", "has no certificate"]),
        (
            vec![("TLS_CERTIFICATE", &certificate), ("TLS_KEY", &key), ("PUBLIC_URL", "http://localhost")],
            ["PUBLIC_URL", "with TLS_CERTIFICATE expected https://"],
        ),
    ] {
        let token = ("TOKEN_SECRET", "a secret of 32 characters or more");
        let all = with(Vec::new(), &[given, vec![token]].concat());
        ended(&run("orderflow", &["serve"], &all).await, 2, &says);
    }
}
