//! What the demo subscribes to, and what must therefore arrive: found in the recorded file by type name alone.

use std::collections::HashSet;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A sink of the demo.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the table calls it, and its path at the receiver.
    pub(super) name: &'static str,
    /// Whether a request may carry several events.
    pub(super) batched: bool,
    /// How many requests it answers 503 first.
    pub(super) refuses: u32,
    /// What it is subscribed to.
    pub(super) types: &'static [&'static str],
    /// Types under this prefix are pinned to an older schema version.
    pub(super) pinned: Option<Pinned>,
}

/// An older schema version, and what it does not have.
#[derive(Debug)]
pub(super) struct Pinned {
    /// Beginning of the names of the types that are pinned.
    pub(super) prefix: &'static str,
    /// The version.
    pub(super) version: u32,
    /// Members of `data` that came later.
    pub(super) absent: &'static [&'static str],
}

/// The two sinks of the demo.
pub(super) const PLANS: [Plan; 2] = [
    Plan {
        name: "batched",
        batched: true,
        refuses: 0,
        types: &[
            "com.twilio.messaging.message.sent",
            "com.twilio.messaging.message.delivered",
            "com.twilio.messaging.inbound-message.received",
            "com.twilio.voice.status-callback.call.initiated",
            "com.twilio.voice.status-callback.call.ringing",
            "com.twilio.voice.status-callback.call.answered",
            "com.twilio.voice.status-callback.call.completed",
            "com.twilio.voice.insights.call-summary.complete",
        ],
        pinned: None,
    },
    Plan {
        name: "flaky",
        batched: false,
        refuses: 3,
        types: &[
            "com.twilio.messaging.message.delivered",
            "com.twilio.messaging.message.undelivered",
            "com.twilio.messaging.message.failed",
            "com.twilio.accountsecurity.verify.verification.pending",
            "com.twilio.accountsecurity.verify.verification.approved",
            "com.twilio.taskrouter.task.created",
            "com.twilio.taskrouter.task.completed",
            "com.twilio.taskrouter.reservation.accepted",
            "com.twilio.error-logs.error.logged",
        ],
        // November 2024 added these two to the status of a message.
        pinned: Some(Pinned {
            prefix: "com.twilio.messaging.message.",
            version: 4,
            absent: &["numberOfSegments", "dateUpdated"],
        }),
    },
];

/// What of a recorded event the demo needs.
#[derive(Debug, Deserialize)]
pub(super) struct Recorded {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) event_type: String,
    pub(super) data: Map<String, Value>,
}

/// Reads the recorded file.
///
/// # Errors
/// A line that is no event.
pub(super) fn recorded(events: &str) -> anyhow::Result<Vec<Recorded>> {
    events
        .lines()
        .map(|line| serde_json::from_str(line).context("a recorded line is not an event"))
        .collect()
}

impl Plan {
    /// The ids of the events that must arrive.
    pub(super) fn expected(&self, recorded: &[Recorded]) -> HashSet<String> {
        let wanted = recorded.iter().filter(|e| self.types.contains(&e.event_type.as_str()));
        wanted.map(|e| e.id.clone()).collect()
    }

    /// The version that a type is pinned to; `None`: the latest.
    pub(super) fn version_of(&self, event_type: &str) -> Option<u32> {
        self.pin_of(event_type).map(|pinned| pinned.version)
    }

    /// What is wrong with an event as it was delivered, if anything.
    pub(super) fn fault(&self, delivered: &Value, recorded: &Recorded) -> Option<String> {
        let id = delivered["id"].as_str().unwrap_or("an event without an id");
        let Some(data) = delivered["data"].as_object() else {
            return Some(format!("`{id}` has no data"));
        };
        match self.pin_of(&recorded.event_type) {
            None if *data == recorded.data => None,
            None => Some(format!("`{id}` has other data than was published")),
            Some(pinned) => pinned.fault(id, delivered, data, recorded),
        }
    }

    fn pin_of(&self, event_type: &str) -> Option<&Pinned> {
        self.pinned.as_ref().filter(|pinned| event_type.starts_with(pinned.prefix))
    }
}

impl Pinned {
    fn fault(
        &self,
        id: &str,
        delivered: &Value,
        data: &Map<String, Value>,
        recorded: &Recorded,
    ) -> Option<String> {
        if let Some(newer) = self.absent.iter().find(|name| data.contains_key(**name)) {
            return Some(format!("`{id}` has `{newer}`, which version {} does not", self.version));
        }
        let schema = delivered["dataschema"].as_str().unwrap_or_default();
        if !schema.ends_with(&format!("/{}", self.version)) {
            return Some(format!("`{id}` has the schema `{schema}`, not version {}", self.version));
        }
        let mut expected = recorded.data.clone();
        expected.retain(|name, _| !self.absent.contains(&name.as_str()));
        (*data != expected).then(|| format!("`{id}` has other data than was published"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published(event_type: &str) -> Recorded {
        let event = json!({"id": "EZ1", "type": event_type, "data": {"a": 1, "dateUpdated": "x"}});
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn expects_by_type_alone() {
        let recorded =
            [published("com.twilio.error-logs.error.logged"), published("com.example.other")];
        assert_eq!(PLANS[0].expected(&recorded).len(), 0);
        assert_eq!(PLANS[1].expected(&recorded).len(), 1);
    }

    #[test]
    fn a_pinned_event_must_lack_what_came_later() {
        let event_type = "com.twilio.messaging.message.delivered";
        let recorded = published(event_type);
        let fault = |plan: &Plan, data: Value, schema: &str| {
            let delivered =
                json!({"id": "EZ1", "type": event_type, "dataschema": schema, "data": data});
            plan.fault(&delivered, &recorded)
        };
        let [latest, pinned] = &PLANS;
        assert_eq!(fault(latest, json!({"a": 1, "dateUpdated": "x"}), "s/A/7"), None);
        assert!(fault(latest, json!({"a": 1}), "s/A/7").is_some());
        assert_eq!(fault(pinned, json!({"a": 1}), "s/A/4"), None);
        assert!(fault(pinned, json!({"a": 1}), "s/A/7").is_some());
        assert!(fault(pinned, json!({"a": 2}), "s/A/4").is_some());
        assert!(fault(pinned, json!({"a": 1, "dateUpdated": "x"}), "s/A/4").is_some());
        assert_eq!((pinned.version_of(event_type), latest.version_of(event_type)), (Some(4), None));
    }
}
