//! Bounds on what strangers send, and on answers that they do not read: docs/SECURITY.md lists them.

mod frames;
mod reading;
mod writing;

use std::net::SocketAddr;

use orderflow_tests::{Child, memory};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};

/// A front end's peak memory, whatever strangers do, in KiB (issue "Bounds").
const PEAK: u64 = 128 * 1024;

/// Connects as a client with a small receive buffer, so that unread answers stay with the server.
async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    socket.connect(address).await.expect("the server accepts it")
}

async fn send(connection: &mut TcpStream, text: &str) {
    connection.write_all(text.as_bytes()).await.expect("the connection is open");
}

#[track_caller]
fn stays_small(front_end: &Child) {
    let peak = memory(front_end.id(), "VmHWM").expect("it runs");
    assert!(peak < PEAK, "the front end took {peak} KiB at its peak");
}
