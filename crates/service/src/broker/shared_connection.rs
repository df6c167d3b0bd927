//! A connection shared by many users, with a channel for each.

use std::{sync::Arc, time::Duration};

use lapin::{Channel, Connection};
use tokio::{sync::Mutex, time::Instant};

use super::{BrokerError, Connector};

/// How long opening a channel may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long closing a connection may take before it is left to the broker's heartbeat.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that opens when a channel is needed, and reopens after it broke. Cheap to clone.
#[derive(Clone)]
pub struct SharedConnection {
    connector: Connector,
    purpose: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Connection>>,
    /// Whether RabbitMQ's limit on connections has been logged.
    told_full: bool,
    /// The last failed attempt to connect, and its time.
    failed: Option<(Instant, Arc<BrokerError>)>,
}

impl std::fmt::Debug for SharedConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedConnection").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl SharedConnection {
    /// Returns a connection that is not open yet. `purpose` describes it in the management UI.
    #[must_use]
    pub fn new(connector: Connector, purpose: &str) -> Self {
        Self { connector, purpose: purpose.into(), state: Arc::default() }
    }

    /// Like [`SharedConnection::new`], but for a caller that logs each failure itself.
    #[must_use]
    pub fn unlogged(connector: Connector, purpose: &str) -> Self {
        let state = State { told_full: true, ..State::default() };
        Self { connector, purpose: purpose.into(), state: Arc::new(Mutex::new(state)) }
    }

    /// Opens a channel, and connects first if necessary. Of many concurrent callers one connects; the others wait for
    /// its outcome.
    ///
    /// The connection lives on the tokio runtime that this is called on, which must be multi-threaded.
    ///
    /// # Errors
    /// Fails if the broker refuses, or does not answer within twenty seconds: ten to connect and ten for the channel.
    pub async fn channel(&self) -> Result<(Arc<Connection>, Channel), BrokerError> {
        let connection = self.current().await?;
        match tokio::time::timeout(OPEN_TIMEOUT, connection.create_channel()).await {
            Ok(channel) => Ok((connection, channel?)),
            Err(_) => {
                self.abandon(&connection).await;
                Err(BrokerError::TimedOut(OPEN_TIMEOUT))
            }
        }
    }

    async fn current(&self) -> Result<Arc<Connection>, BrokerError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(current) = state.current.as_ref().filter(|current| current.status().connected()) {
            return Ok(Arc::clone(current));
        }
        if let Some((_, error)) = state.failed.as_ref().filter(|(failed, _)| *failed >= asked) {
            return Err(BrokerError::Shared(Arc::clone(error)));
        }
        match self.connector.connect(&self.purpose).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.told_full = false;
                state.current = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                if error.is_full() && !std::mem::replace(&mut state.told_full, true) {
                    tracing::warn!(purpose = &*self.purpose, %error, "RabbitMQ refuses a connection; trying again until it has one");
                }
                let error = Arc::new(error);
                state.failed = Some((Instant::now(), Arc::clone(&error)));
                Err(BrokerError::Shared(error))
            }
        }
    }

    /// Closes this connection for all its channels, unless another has replaced it. The broker then requeues what was
    /// delivered on it. Use it when something on the connection does not answer.
    pub async fn abandon(&self, connection: &Arc<Connection>) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            state.current = None;
        }
        drop(state);
        drop(tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, "abandoned".into())).await);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::{BrokerConfig, Source};

    /// Twenty queues must not wait for twenty time-outs in turn when the broker is unavailable.
    #[tokio::test(flavor = "multi_thread")]
    async fn one_of_many_callers_connects_and_all_share_its_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("amqp://{}/v", listener.local_addr().expect("it listens"));
        let (counted, mut connected) = tokio::sync::watch::channel(0);
        let accepted = connected.clone();
        let (refuse, refused) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.send_modify(|count| *count += 1);
                let mut refused = refused.clone();
                tokio::spawn(async move {
                    drop(refused.wait_for(|now| *now).await);
                    drop(stream);
                });
            }
        });
        let source: Source = [("AMQP_URL".to_owned(), url)].into_iter().collect();
        let config = BrokerConfig::read(&source).expect("the URL is well-formed");
        let shared = SharedConnection::new(Connector::new(&config, "test"), "consuming");
        let asking = (0..20).map(|_| shared.channel());
        let all_ask = async {
            drop(connected.changed().await);
            refuse.send_replace(true);
        };
        let (answers, ()) = tokio::join!(join_all(asking), all_ask);
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(*accepted.borrow(), 1);
        assert!(shared.channel().await.is_err(), "a later caller tries again");
        assert_eq!(*accepted.borrow(), 2);
    }
}
