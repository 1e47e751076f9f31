//! What a schema says of an event that is still there.

use millrace_domain::{
    event::CloudEvent,
    schema::{SchemaVersion, parse_dataschema},
};
use millrace_proto::v1::SchemaVerdict;
use millrace_schema::Document;
use serde_json::Value;

use super::Subject;

/// What the schema says, of the version that the event names or else the latest.
pub(super) fn verdict(subject: &Subject, versions: &[SchemaVersion]) -> (SchemaVerdict, String) {
    let unchecked = |why: &str| (SchemaVerdict::NotChecked, why.to_owned());
    let Some(event) = &subject.event else { return unchecked("the event is not there any more") };
    let Ok(event) = CloudEvent::parse(event) else { return unchecked("the event cannot be read") };
    let Ok(data) = serde_json::from_str::<Value>(&event.data) else {
        return unchecked("the event has no data that can be read");
    };
    let named = event.dataschema.as_deref().and_then(parse_dataschema).map(|(_, number)| number);
    let version = match named {
        Some(number) => versions.iter().find(|version| version.version == number),
        None => versions.last(),
    };
    let Some(version) = version else { return unchecked("its type has no such version") };
    let name = format!("{}/{}", version.schema_id, version.version);
    let Some(document) = &version.document else { return (SchemaVerdict::NoDocument, name) };
    match Document::parse(document).and_then(|document| document.compile()) {
        Err(problem) => (SchemaVerdict::NotChecked, format!("{name}: {problem}")),
        Ok(validator) => match validator.check(&data) {
            Ok(()) => (SchemaVerdict::Valid, name),
            Err(violation) => {
                let detail = format!("{name}: {} {}", violation.field, violation.message);
                (SchemaVerdict::Invalid, detail)
            }
        },
    }
}
