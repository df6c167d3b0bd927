//! The CloudEvents 1.0 envelope around every event, in structured JSON mode.
//!
//! Source of the attribute names and rules: CloudEvents specification 1.0.2. `orderversion`, `correlationid`,
//! `causationid` and `traceparent` are extension attributes, whose names may not contain separators.

use std::borrow::Cow;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{EventName, event_name::cloud_type};
use crate::timestamp;

/// The media type of a message's body.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The data of one kind of event. Its JSON is part of the contract: a change needs a new version of the type.
pub trait EventData: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind of event that has this data.
    const EVENT: EventName;
}

/// An event as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Envelope<T> {
    specversion: SpecVersion,
    /// The event's unique id (UUIDv7). Consumers use it to recognise repetitions.
    pub id: Uuid,
    /// The program that wrote the event: `/orderflow/payment`.
    pub source: String,
    /// The CloudEvents type, see [`EventName::cloud_type`].
    #[serde(rename = "type")]
    pub cloud_type: String,
    /// The order's id.
    #[serde(rename = "subject")]
    pub order_id: Uuid,
    /// When it happened: UTC, with milliseconds.
    #[serde(with = "timestamp")]
    #[cfg_attr(feature = "schema", schemars(with = "DateTime<Utc>"))]
    pub time: DateTime<Utc>,
    datacontenttype: ContentType,
    /// The order's version after this event: 1 for its first event, without gaps.
    #[serde(rename = "orderversion")]
    pub order_version: i32,
    /// The id of the request that placed the order, the same for all events of the order.
    #[serde(rename = "correlationid")]
    pub correlation_id: Uuid,
    /// The id of the event that caused this one; absent for an order's first event and for requests of customers or
    /// operators.
    #[serde(rename = "causationid", default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// The W3C trace context of the step that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The data of this kind of event.
    pub data: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
enum SpecVersion {
    #[serde(rename = "1.0")]
    V1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
enum ContentType {
    #[serde(rename = "application/json")]
    Json,
}

/// An event to append to the log, which assigns its id, time and version.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The order's id.
    pub order_id: Uuid,
    /// The event's name.
    pub name: EventName,
    /// The id of the request that placed the order.
    pub correlation_id: Uuid,
    /// The id of the event that caused this one.
    pub causation_id: Option<Uuid>,
    /// The trace context to continue.
    pub traceparent: Option<String>,
    /// The event's data as JSON.
    pub data: Value,
}

impl NewEvent {
    /// Creates an event without a causing event: an order's first event, or a request of a customer or operator.
    ///
    /// # Errors
    /// Fails if `data` has no JSON form.
    pub fn uncaused<T: EventData>(
        order_id: Uuid,
        correlation_id: Uuid,
        traceparent: Option<String>,
        data: &T,
    ) -> serde_json::Result<Self> {
        Ok(Self {
            order_id,
            name: T::EVENT,
            correlation_id,
            causation_id: None,
            traceparent,
            data: serde_json::to_value(data)?,
        })
    }

    /// Creates an event caused by `cause`, with the same order, correlation id and trace context.
    ///
    /// # Errors
    /// Fails if `data` has no JSON form.
    pub fn caused_by<C, T: EventData>(cause: &Envelope<C>, data: &T) -> serde_json::Result<Self> {
        Ok(Self {
            order_id: cause.order_id,
            name: T::EVENT,
            correlation_id: cause.correlation_id,
            causation_id: Some(cause.id),
            traceparent: cause.traceparent.clone(),
            data: serde_json::to_value(data)?,
        })
    }

    /// Returns the event's envelope, with a new id, `source`, the current time and its version in the order's history.
    #[must_use]
    pub fn into_envelope(self, source: &str, order_version: i32) -> Envelope<Value> {
        let logged = Logged {
            id: Uuid::now_v7(),
            order_id: self.order_id,
            order_version,
            name: self.name.as_str().into(),
            source: source.to_owned(),
            time: Utc::now().trunc_subsecs(3),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            traceparent: self.traceparent,
            data: self.data,
        };
        logged.into()
    }
}

/// An event as stored in the event log. This version may not know its kind.
#[derive(Debug, Clone)]
pub struct Logged {
    /// See [`Envelope::id`].
    pub id: Uuid,
    /// See [`Envelope::order_id`].
    pub order_id: Uuid,
    /// See [`Envelope::order_version`].
    pub order_version: i32,
    /// The kind's name.
    pub name: Cow<'static, str>,
    /// See [`Envelope::source`].
    pub source: String,
    /// See [`Envelope::time`].
    pub time: DateTime<Utc>,
    /// See [`Envelope::correlation_id`].
    pub correlation_id: Uuid,
    /// See [`Envelope::causation_id`].
    pub causation_id: Option<Uuid>,
    /// See [`Envelope::traceparent`].
    pub traceparent: Option<String>,
    /// See [`Envelope::data`].
    pub data: Value,
}

impl From<Logged> for Envelope<Value> {
    fn from(logged: Logged) -> Self {
        Self {
            specversion: SpecVersion::V1,
            id: logged.id,
            source: logged.source,
            cloud_type: cloud_type(&logged.name).into_owned(),
            order_id: logged.order_id,
            time: logged.time,
            datacontenttype: ContentType::Json,
            order_version: logged.order_version,
            correlation_id: logged.correlation_id,
            causation_id: logged.causation_id,
            traceparent: logged.traceparent,
            data: logged.data,
        }
    }
}

/// Why a message's body is not the expected event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON or not an envelope, or the data does not match its type.
    #[error("the body is not a CloudEvents 1.0 event of a kind we know: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is an event of a kind that this subscription does not consume.
    #[error("the type is {found:?} where {expected:?} was expected")]
    WrongType {
        /// The type that the subscription consumes.
        expected: Cow<'static, str>,
        /// The type received.
        found: String,
    },
}

impl<T: EventData> Envelope<T> {
    /// Decodes a message's body by its `type`, never by its routing key: a retry's routing key is its queue.
    ///
    /// # Errors
    /// Fails permanently if the body is not such an event: see [`DecodeError`].
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Ok(Envelope::named(T::EVENT, body)?.typed()?)
    }
}

impl Envelope<Value> {
    /// Decodes a message's body as an event of this kind, or of any kind for [`EventName::OTHER`], without decoding its
    /// data.
    ///
    /// # Errors
    /// Fails permanently if the body is not such an event: see [`DecodeError`].
    pub fn named(name: EventName, body: &[u8]) -> Result<Self, DecodeError> {
        // Check the type first, so that an event of another kind is not reported as malformed.
        #[derive(Deserialize)]
        struct Type {
            #[serde(rename = "type")]
            cloud_type: String,
        }
        let Type { cloud_type: found } = serde_json::from_slice(body)?;
        let expected = name.cloud_type();
        if name != EventName::OTHER && found != expected {
            return Err(DecodeError::WrongType { expected, found });
        }
        Ok(serde_json::from_slice(body)?)
    }

    /// Returns the event with its data decoded as `T`. The kind is not checked.
    ///
    /// # Errors
    /// Fails if the data does not match `T`.
    pub fn typed<T: EventData>(self) -> serde_json::Result<Envelope<T>> {
        Ok(Envelope {
            specversion: self.specversion,
            id: self.id,
            source: self.source,
            cloud_type: self.cloud_type,
            order_id: self.order_id,
            time: self.time,
            datacontenttype: self.datacontenttype,
            order_version: self.order_version,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            traceparent: self.traceparent,
            data: serde_json::from_value(self.data)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use serde_json::json;

    use super::*;
    use crate::PaymentFailed;

    fn sent() -> Value {
        let data = json!({"reason": "the bank declined it"});
        let logged = Logged {
            id: Uuid::from_u128(4),
            order_id: Uuid::from_u128(1),
            order_version: 2,
            name: PaymentFailed::EVENT.as_str().into(),
            source: "/orderflow/payment".to_owned(),
            time: DateTime::UNIX_EPOCH,
            correlation_id: Uuid::from_u128(2),
            causation_id: Some(Uuid::from_u128(3)),
            traceparent: None,
            data,
        };
        serde_json::to_value(Envelope::from(logged)).expect("JSON")
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec((any::<String>(), inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// A decoded event is unchanged after encoding and decoding it again.
    fn decodes_to_itself(body: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(event) = Envelope::<PaymentFailed>::decode(body) {
            prop_assert_eq!(&event.cloud_type, &PaymentFailed::EVENT.cloud_type());
            let again = serde_json::to_vec(&event).expect("JSON");
            prop_assert_eq!(Envelope::<PaymentFailed>::decode(&again).ok(), Some(event));
        }
        Ok(())
    }

    #[test]
    fn published_event_decodes() {
        let body = serde_json::to_vec(&sent()).expect("JSON");
        assert!(Envelope::<PaymentFailed>::decode(&body).is_ok_and(|event| event.order_version == 2));
    }

    proptest! {
        #[test]
        fn no_message_decodes_as_a_different_event(
            body in vec(any::<u8>(), 0..400),
            field in prop::sample::select(vec!["id", "type", "subject", "time", "orderversion", "data", "specversion", "causationid", "more"]),
            value in any_value(),
            (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
        ) {
            decodes_to_itself(&body)?;
            let mut changed = sent();
            changed[field] = value;
            decodes_to_itself(&serde_json::to_vec(&changed).expect("JSON"))?;
            let mut bytes = serde_json::to_vec(&sent()).expect("JSON");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            decodes_to_itself(&bytes)?;
        }
    }
}
