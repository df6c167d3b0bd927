//! The CloudEvents 1.0 envelope around every event, in structured JSON mode.
//!
//! Source of the attribute names and rules: CloudEvents specification 1.0.2. `orderversion`, `correlationid`,
//! `causationid` and `traceparent` are extension attributes, which is why they carry no separators.

use std::borrow::Cow;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{EventName, event_name::cloud_type};
use crate::timestamp;

/// The media type of a message's body.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The data of one kind of event. Its JSON is public: a change needs a new version of the type.
pub trait EventData: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Which kind this is the data of.
    const EVENT: EventName;
}

/// One event as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Envelope<T> {
    specversion: SpecVersion,
    /// Unique for ever (UUIDv7); consumers recognise a repetition by it.
    pub id: Uuid,
    /// Who says so: `/orderflow/payment`.
    pub source: String,
    /// The CloudEvents type, see [`EventName::cloud_type`].
    #[serde(rename = "type")]
    pub cloud_type: String,
    /// The order's id.
    #[serde(rename = "subject")]
    pub order_id: Uuid,
    /// When it happened; milliseconds, UTC.
    #[serde(with = "timestamp")]
    #[cfg_attr(feature = "schema", schemars(with = "DateTime<Utc>"))]
    pub time: DateTime<Utc>,
    datacontenttype: ContentType,
    /// The order's version after this event: 1 for its first event, without gaps.
    #[serde(rename = "orderversion")]
    pub order_version: i32,
    /// The id of the request that placed the order, the same for everything that follows from it.
    #[serde(rename = "correlationid")]
    pub correlation_id: Uuid,
    /// The event that led to this one; none for an order's first and for what a person asked for.
    #[serde(rename = "causationid", default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Uuid>,
    /// The W3C trace context of whoever caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What is particular to this kind of event.
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

/// An event that is about to be written to the log, which gives it its id, time and version.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The order that it happened to.
    pub order_id: Uuid,
    /// What happened.
    pub name: EventName,
    /// The placing request's id.
    pub correlation_id: Uuid,
    /// The event that led here.
    pub causation_id: Option<Uuid>,
    /// The trace context to go on with.
    pub traceparent: Option<String>,
    /// The kind's data as JSON.
    pub data: Value,
}

impl NewEvent {
    /// An event that no other event led to: an order's first, or what a person asked for.
    ///
    /// # Errors
    /// When `data` has no JSON form.
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

    /// What follows from `cause`: the same order, correlation and trace.
    ///
    /// # Errors
    /// When `data` has no JSON form.
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

    /// Gives the event its identity: a fresh id, `source`, the present time and its place in the order's history.
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

/// An event as the event log has it. Its kind may be one that this version does not know.
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

/// Why a message's body is not the event that was expected.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, not an envelope, or the data does not fit its type.
    #[error("the body is not a CloudEvents 1.0 event of a kind we know: {0}")]
    Malformed(#[from] serde_json::Error),
    /// An event, but of another kind than this subscription takes.
    #[error("the type is {found:?} where {expected:?} was expected")]
    WrongType {
        /// What the subscription takes.
        expected: Cow<'static, str>,
        /// What came.
        found: String,
    },
}

impl<T: EventData> Envelope<T> {
    /// Reads a message's body, by the `type` it names and never by its routing key (a retry's routing key is its queue).
    ///
    /// # Errors
    /// When the body is no such event: see [`DecodeError`]. Trying again cannot help.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Ok(Envelope::named(T::EVENT, body)?.typed()?)
    }
}

impl Envelope<Value> {
    /// Reads a message's body as an event of this kind, of any kind for [`EventName::OTHER`], and leaves its data as it is.
    ///
    /// # Errors
    /// When the body is no such event: see [`DecodeError`]. Trying again cannot help.
    pub fn named(name: EventName, body: &[u8]) -> Result<Self, DecodeError> {
        // Check the type first, so that an event of another kind is reported as that and not as malformed.
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

    /// Returns the event with its data read as that of `T`. The kind is not checked.
    ///
    /// # Errors
    /// When the data is not that of `T`.
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

    /// What is decoded says the same when it is written again.
    fn decodes_to_itself(body: &[u8]) -> Result<(), TestCaseError> {
        if let Ok(event) = Envelope::<PaymentFailed>::decode(body) {
            prop_assert_eq!(&event.cloud_type, &PaymentFailed::EVENT.cloud_type());
            let again = serde_json::to_vec(&event).expect("JSON");
            prop_assert_eq!(Envelope::<PaymentFailed>::decode(&again).ok(), Some(event));
        }
        Ok(())
    }

    #[test]
    fn what_is_sent_is_decoded() {
        let body = serde_json::to_vec(&sent()).expect("JSON");
        assert!(Envelope::<PaymentFailed>::decode(&body).is_ok_and(|event| event.order_version == 2));
    }

    proptest! {
        #[test]
        fn no_message_is_taken_for_what_it_is_not(
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
