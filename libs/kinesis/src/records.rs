//! Events as records: one CloudEvent in the JSON format each, and what spreads them over shards.

use std::borrow::Cow;

use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
use millrace_domain::{AccountSid, sink::KinesisPartitionKey};
use millrace_sinks::Delivery;
use serde::Deserialize;

use crate::RECORD_MAX_BYTES;

/// Most characters of a partition key (Kinesis, `PutRecords`).
const KEY_MAX_CHARS: usize = 256;

/// The events of a request that fit a record, in order.
pub(crate) struct Batch<'a> {
    events: Vec<(&'a Delivery, String)>,
}

impl<'a> Batch<'a> {
    /// Takes of `events` those that fit; the second is where the others were.
    pub(crate) fn of(
        events: &'a [Delivery],
        by: KinesisPartitionKey,
        account: AccountSid,
        record_max_bytes: usize,
    ) -> (Self, Vec<usize>) {
        let (mut fit, mut too_large) = (Vec::with_capacity(events.len()), Vec::new());
        for (at, event) in events.iter().enumerate() {
            let key = key(event, by, account);
            match event.event.len() + key.len() <= record_max_bytes {
                true => fit.push((event, key)),
                false => too_large.push(at),
            }
        }
        (Self { events: fit }, too_large)
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether one of them is larger than what every stream takes.
    pub(crate) fn is_large(&self) -> bool {
        self.events.iter().any(|(event, key)| event.event.len() + key.len() > RECORD_MAX_BYTES)
    }

    /// The records; made anew each time, for a request uses them up.
    pub(crate) fn records(&self) -> Vec<PutRecordsRequestEntry> {
        let record = |(event, key): &(&Delivery, String)| {
            PutRecordsRequestEntry::builder()
                .data(Blob::new(event.event.as_ref()))
                .partition_key(key)
                .build()
                .expect("it has data")
        };
        self.events.iter().map(record).collect()
    }
}

/// The attributes of an event that may be its key.
#[derive(Default, Deserialize)]
struct Attributes<'a> {
    #[serde(borrow, rename = "type")]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
}

/// The partition key of an event: what the sink asks for, else the event's id, which every event has.
fn key(event: &Delivery, by: KinesisPartitionKey, account: AccountSid) -> String {
    let read = || serde_json::from_slice::<Attributes<'_>>(&event.event).unwrap_or_default();
    let asked = match by {
        KinesisPartitionKey::Id => None,
        KinesisPartitionKey::Account => Some(event.account.unwrap_or(account).to_string()),
        KinesisPartitionKey::Type => read().event_type.map(Cow::into_owned),
        KinesisPartitionKey::Subject => read().subject.map(Cow::into_owned),
    };
    let whole = asked.filter(|key| !key.is_empty()).unwrap_or_else(|| event.id.clone());
    match whole.char_indices().nth(KEY_MAX_CHARS) {
        Some((end, _)) => whole.get(..end).unwrap_or_default().to_owned(),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const ACCOUNT: AccountSid = AccountSid::from_u128(7);
    const OTHER: AccountSid = AccountSid::from_u128(8);

    fn event(json: &'static str) -> Delivery {
        Delivery {
            id: "EZ1".to_owned(),
            account: None,
            traceparent: String::new(),
            event: Bytes::from_static(json.as_bytes()),
            hash: None,
        }
    }

    #[test]
    fn the_key_is_what_the_sink_asks_for_or_the_id() {
        let whole =
            event(r#"{"id":"EZ1","type":"com.exampl\u0065.a","subject":"s1","data":{"type":"x"}}"#);
        let key_by = |by| key(&whole, by, ACCOUNT);
        assert_eq!(key_by(KinesisPartitionKey::Id), "EZ1");
        assert_eq!(key_by(KinesisPartitionKey::Account), ACCOUNT.to_string());
        assert_eq!(key_by(KinesisPartitionKey::Type), "com.example.a");
        assert_eq!(key_by(KinesisPartitionKey::Subject), "s1");
        let of_other = Delivery { account: Some(OTHER), ..whole.clone() };
        assert_eq!(key(&of_other, KinesisPartitionKey::Account, ACCOUNT), OTHER.to_string());
        for without in [r#"{"id":"EZ1"}"#, r#"{"subject":""}"#, r#"{"subject":7}"#, "no json"] {
            assert_eq!(key(&event(without), KinesisPartitionKey::Subject, ACCOUNT), "EZ1");
        }
    }

    #[test]
    fn a_key_has_at_most_256_characters() {
        let long = Delivery { id: "é".repeat(300), ..event("{}") };
        let key = key(&long, KinesisPartitionKey::Id, ACCOUNT);
        assert_eq!(key, "é".repeat(256));
    }

    #[test]
    fn what_is_larger_than_a_record_is_left_out_alone() {
        let events = [event("{}"), event(r#"{"a":"123456789"}"#), event("{}")];
        let (batch, too_large) = Batch::of(&events, KinesisPartitionKey::Id, ACCOUNT, 5);
        assert_eq!((batch.len(), too_large), (2, vec![1]));
        assert_eq!(batch.records()[0].data().as_ref(), b"{}", "an object, not an array of one");
    }
}
