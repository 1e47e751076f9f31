//! What is matched: a type, and the event if it is there.

use bytes::Bytes;
use millrace_domain::{event::CloudEvent, schema::check_name};
use serde_json::Value;

use crate::status::{Failure, code};

/// A type, and the event if it is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(super) event_type: String,
    /// The event in the CloudEvents JSON format.
    pub(super) event: Option<Bytes>,
    /// Why the event would be refused, whatever its account has.
    pub(super) refusal: Option<String>,
}

impl Subject {
    /// A type alone.
    pub(crate) fn of(event_type: String) -> Self {
        Self { event_type, ..Self::default() }
    }

    /// Reads an event of which only the type must be there: what a publish would refuse is told, not refused.
    pub(crate) fn read(event: Bytes) -> Result<Self, Failure> {
        let wrong = |message: String| Failure::invalid(code::BAD_REQUEST, "Event", message);
        let json: Value = serde_json::from_slice(&event)
            .map_err(|error| wrong(format!("is not JSON: {error}")))?;
        let name = json.get("type").and_then(Value::as_str);
        let name = name.ok_or_else(|| wrong("must be a JSON object with a `type`".to_owned()))?;
        check_name("Event.type", name)
            .map_err(|refusal| Failure::refused(code::BAD_REQUEST, refusal))?;
        let event_type = name.to_owned();
        let whole = ["source", "data"].iter().all(|field| json.get(field).is_some());
        let refusal = CloudEvent::parse(&event).and_then(|event| event.check()).err();
        let refusal = refusal
            .filter(|_| whole)
            .map(|refusal| format!("{}: {}", refusal.field, refusal.message));
        Ok(Self { event_type, event: Some(event), refusal })
    }
}
