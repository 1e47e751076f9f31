//! What a schema says of an event that is still there.

use millrace_domain::{
    event::CloudEvent,
    schema::{SchemaVersion, followed_version},
};
use millrace_proto::v1::SchemaVerdict;
use millrace_schema::Document;
use serde_json::Value;

use super::Subject;

/// What a schema says of an event.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) verdict: SchemaVerdict,
    /// Which version, and what it does not like.
    pub(super) detail: String,
    /// Why a router refuses the event for the version that it names.
    pub(super) refusal: Option<String>,
}

impl Checked {
    fn not(why: &str) -> Self {
        Self { verdict: SchemaVerdict::NotChecked, detail: why.to_owned(), refusal: None }
    }

    /// Of an event that nobody has.
    pub(super) fn nothing() -> Self {
        Self::not("the event is not there any more")
    }
}

/// The version of schema `schema_id` that the event follows, as routers find it. `latest`: of that schema, if there is any.
///
/// # Errors
/// Why it is checked by none.
pub(super) fn followed(
    subject: &Subject,
    schema_id: &str,
    latest: Option<u32>,
) -> Result<u32, Checked> {
    let Some(event) = &subject.event else { return Err(Checked::nothing()) };
    let Ok(event) = CloudEvent::parse(event) else {
        return Err(Checked::not("the event cannot be read"));
    };
    followed_version(event.dataschema.as_deref(), schema_id, latest).map_err(|refusal| {
        let why = format!("{}: {}", refusal.field, refusal.message);
        Checked { refusal: Some(why.clone()), ..Checked::not(&why) }
    })
}

/// Checks the event by the version that it follows, if there is that. Compiles a document: not for a thread that others wait for.
pub(super) fn check(subject: &Subject, version: Option<&SchemaVersion>) -> Checked {
    let Some(event) = &subject.event else { return Checked::nothing() };
    let event = CloudEvent::parse(event);
    let data = event.ok().and_then(|event| serde_json::from_str::<Value>(&event.data).ok());
    let Some(data) = data else {
        return Checked::not("the event has no data that can be read");
    };
    let Some(version) = version else {
        return Checked::not("its type has no such version");
    };
    let (verdict, detail) = verdict(version, &data);
    Checked { verdict, detail, refusal: None }
}

fn verdict(version: &SchemaVersion, data: &Value) -> (SchemaVerdict, String) {
    let name = format!("{}/{}", version.schema_id, version.version);
    let Some(document) = &version.document else { return (SchemaVerdict::NoDocument, name) };
    match Document::read(document).and_then(|document| document.compile()) {
        Err(problem) => (SchemaVerdict::NotChecked, format!("{name}: {problem}")),
        Ok(validator) => match validator.check(data) {
            Ok(()) => (SchemaVerdict::Valid, name),
            Err(violation) => {
                let detail = format!("{name}: {} {}", violation.field, violation.message);
                (SchemaVerdict::Invalid, detail)
            }
        },
    }
}
