//! A customer who watches an order by WebSocket.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _, protocol::frame::coding::CloseCode},
};

use crate::{Order, Web};

/// How long the next message may take: longer than the interval between two pings, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watcher of an order. It answers pings while it waits.
#[derive(Debug)]
pub struct Watcher {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The version up to which it has all entries.
    pub version: i64,
}

/// What a watcher received.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A message.
    Message(Value),
    /// A ping, which it answers.
    Ping,
    /// The socket was closed with this code; `None`: the connection broke without a close frame.
    Closed(Option<u16>),
}

impl Web {
    /// Watches an order with its token, from the version `after` on.
    ///
    /// # Errors
    /// Returns the status and the body of the answer, if the front end refuses.
    ///
    /// # Panics
    /// Panics if there is no answer at all.
    pub async fn try_watch(&self, order: &Order, after: Option<i64>) -> Result<Watcher, (u16, Value)> {
        let query = after.map_or_else(String::new, |after| format!("?after={after}"));
        let url = format!("{}/orders/{}/live{query}", self.root.replacen("http", "ws", 1), order.id);
        let mut request = url.into_client_request().expect("a URL");
        let bearer = format!("Bearer {}", order.token).parse().expect("a token is text");
        request.headers_mut().insert("authorization", bearer);
        let connecting = tokio::time::timeout(PATIENCE, connect_async(request)).await;
        match connecting.expect("an answer in time") {
            Ok((socket, _)) => Ok(Watcher { socket, version: after.unwrap_or(0) }),
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err((answer.status().as_u16(), serde_json::from_slice(body).unwrap_or_default()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`Web::try_watch`], but the front end must accept the watcher.
    ///
    /// # Panics
    /// Panics if the front end refuses.
    pub async fn watch(&self, order: &Order, after: Option<i64>) -> Watcher {
        self.try_watch(order, after).await.unwrap_or_else(|answer| panic!("{answer:?}"))
    }
}

impl Watcher {
    /// Waits for the next message, ping or close.
    ///
    /// # Panics
    /// Panics if none arrives within a minute.
    pub async fn said(&mut self) -> Said {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        match next.expect("something arrives within a minute") {
            Some(Ok(Message::Text(text))) => Said::Message(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Ping(_))) => Said::Ping,
            Some(Ok(Message::Close(frame))) => Said::Closed(frame.map(|frame| CloseCode::into(frame.code))),
            Some(Ok(other)) => panic!("the front end sent {other:?}"),
            Some(Err(_)) | None => Said::Closed(None),
        }
    }

    /// Waits for the next message, skipping pings, and updates the version from it.
    ///
    /// # Panics
    /// Panics if the socket is closed instead.
    pub async fn message(&mut self) -> Value {
        loop {
            match self.said().await {
                Said::Ping => {}
                Said::Message(message) => {
                    let version = message["entry"]["version"].as_i64().or(message["version"].as_i64());
                    self.version = version.unwrap_or(self.version);
                    return message;
                }
                Said::Closed(code) => panic!("closed with {code:?} after version {}", self.version),
            }
        }
    }

    /// Reads until it has this version; returns the messages.
    pub async fn until_version(&mut self, version: i64) -> Vec<Value> {
        let mut messages = Vec::new();
        while self.version < version {
            messages.push(self.message().await);
        }
        messages
    }

    /// Reads until the socket is closed; returns the messages and the code.
    pub async fn until_closed(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut messages = Vec::new();
        loop {
            match self.said().await {
                Said::Ping => {}
                Said::Message(message) => messages.push(message),
                Said::Closed(code) => return (messages, code),
            }
        }
    }

    /// Sends a text, which watchers should not do.
    ///
    /// # Panics
    /// Panics if the socket is closed.
    pub async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the socket is open");
    }

    /// Closes the socket, as a closed page does.
    pub async fn leave(mut self) {
        drop(self.socket.close(None).await);
    }
}
