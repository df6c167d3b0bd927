//! How much is in each queue and how much comes into it, by the management API. Its figures are up to five seconds old.

use orderflow_service::broker::QueueState;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

use super::{Management, ManagementError};

/// What is asked for: without it the answer has some hundred figures for each queue.
const COLUMNS: &str = "columns=name,messages_ready,messages_unacknowledged,consumers,message_stats.publish_details.rate,\
                       message_stats.publish_details.avg_rate";

/// The mean is that of a minute, by samples of five seconds.
const LAST_MINUTE: &str = "msg_rates_age=60&msg_rates_incr=5";

/// One queue, as far as the broker knows: of one that was made a moment ago it knows the name alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct QueueDepth {
    /// The queue.
    pub name: String,
    /// Messages that wait for a consumer.
    #[serde(default, rename = "messages_ready", deserialize_with = "known")]
    pub ready: Option<u32>,
    /// Messages that consumers have in hand.
    #[serde(default, rename = "messages_unacknowledged", deserialize_with = "known")]
    pub unacknowledged: Option<u32>,
    /// Who consumes it.
    #[serde(default, deserialize_with = "known")]
    pub consumers: Option<u32>,
    /// What was published to it; absent where nothing ever was, or the broker does not count.
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

/// A figure, or its default where the broker writes something else in its place (`null`, `[]` or `"undefined"`). One unknown
/// figure must not hide those of all other queues.
fn known<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).unwrap_or_default())
}

impl QueueDepth {
    /// With what the broker itself says of the queue at this moment, in place of the statistics, which may be older than a
    /// worker's connection.
    #[must_use]
    pub fn now(self, name: &str, state: QueueState) -> Self {
        Self { name: name.to_owned(), ready: Some(state.ready), consumers: Some(state.consumers), ..self }
    }

    /// Messages a second that were published to it in the last seconds. What comes back from a retry tier is not among
    /// them: the broker moves that by itself and does not count it.
    #[must_use]
    pub fn arrivals_now(&self) -> Option<f64> {
        self.message_stats.publish_details.rate
    }

    /// The same as the mean of the last minute.
    #[must_use]
    pub fn arrivals(&self) -> Option<f64> {
        self.message_stats.publish_details.avg_rate
    }
}

impl Management {
    /// Every queue of the virtual host.
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
        serde_json::from_str(json).expect("it is as the API answers")
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
