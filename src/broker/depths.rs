//! The depth and arrival rate of each queue, from the management API. Its figures are up to five seconds old.

use orderflow_service::broker::QueueState;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::{Management, ManagementError};

/// The requested columns. Without them the response has about a hundred figures for each queue.
const COLUMNS: &str = "columns=name,messages_ready,messages_unacknowledged,consumers,message_stats.publish_details.rate,\
                       message_stats.publish_details.avg_rate";

/// The mean covers a minute, in samples of five seconds.
const LAST_MINUTE: &str = "msg_rates_age=60&msg_rates_incr=5";

/// The figures that the broker has for a queue. Of a queue declared a moment ago it knows only the name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct QueueDepth {
    /// The queue.
    pub name: String,
    /// Messages waiting for a consumer.
    #[serde(default, rename = "messages_ready", deserialize_with = "known")]
    pub ready: Option<u32>,
    /// Messages delivered to consumers and not acknowledged yet.
    #[serde(default, rename = "messages_unacknowledged", deserialize_with = "known")]
    pub unacknowledged: Option<u32>,
    /// The number of consumers.
    #[serde(default, deserialize_with = "known")]
    pub consumers: Option<u32>,
    /// What was published to it; absent if nothing ever was, or if the broker does not count.
    #[serde(default, deserialize_with = "known")]
    message_stats: MessageStats,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct MessageStats {
    #[serde(default, deserialize_with = "known")]
    publish_details: Rates,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
struct Rates {
    #[serde(default, deserialize_with = "known")]
    rate: Option<f64>,
    #[serde(default, deserialize_with = "known")]
    avg_rate: Option<f64>,
}

/// Reads a figure, or its default if the broker writes `null`, `[]` or `"undefined"` in its place. One unknown figure
/// must not hide the figures of all other queues.
fn known<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

impl QueueDepth {
    /// Replaces statistics with the queue's state as the broker reports it now. The statistics may be older than a
    /// worker's connection.
    #[must_use]
    pub fn now(self, name: &str, state: QueueState) -> Self {
        Self { name: name.to_owned(), ready: Some(state.ready), consumers: Some(state.consumers), ..self }
    }

    /// Returns the messages per second published to it over the last few seconds. It leaves out messages that return
    /// from a retry tier: the broker moves them itself and does not count them.
    #[must_use]
    pub fn arrivals_now(&self) -> Option<f64> {
        self.message_stats.publish_details.rate
    }

    /// Returns the same as a mean over the last minute.
    #[must_use]
    pub fn arrivals(&self) -> Option<f64> {
        self.message_stats.publish_details.avg_rate
    }
}

impl Management {
    /// Returns the depth of every queue of the virtual host.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn depths(&self) -> Result<Vec<QueueDepth>, ManagementError> {
        self.get(&format!("queues/{}?{COLUMNS}&{LAST_MINUTE}", self.vhost())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> QueueDepth {
        serde_json::from_str(json).expect("the JSON has the API's form")
    }

    #[test]
    fn what_the_broker_leaves_out_is_unknown() {
        let fresh = read(r#"{"name":"a"}"#);
        assert_eq!((fresh.ready, fresh.consumers, fresh.arrivals(), fresh.arrivals_now()), (None, None, None, None));
        let quiet = read(r#"{"name":"a","messages_ready":0,"messages_unacknowledged":0,"consumers":1}"#);
        assert_eq!((quiet.consumers, quiet.arrivals()), (Some(1), None));
        let odd = read(
            r#"{"name":"a","messages_ready":"undefined","messages_unacknowledged":null,"consumers":[],
                "message_stats":[],"of a later version":{}}"#,
        );
        assert_eq!((odd.ready, odd.unacknowledged, odd.consumers, odd.arrivals()), (None, None, None, None));
        let odd = read(r#"{"name":"a","consumers":1,"message_stats":{"publish_details":{"rate":"undefined"}}}"#);
        assert_eq!((odd.consumers, odd.arrivals_now()), (Some(1), None));
        let busy = read(
            r#"{"name":"a","messages_ready":7,"messages_unacknowledged":2,"consumers":1,
                "message_stats":{"publish_details":{"rate":2.0,"avg_rate":0.5}}}"#,
        );
        assert_eq!((busy.arrivals_now(), busy.arrivals()), (Some(2.0), Some(0.5)));
    }
}
