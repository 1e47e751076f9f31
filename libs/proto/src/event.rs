//! Events on the wire.

use std::borrow::Cow;

use millrace_domain::{
    Refusal, RefusalCode,
    event::{CloudEvent, EVENT_MAX_BYTES, quoted},
};

use crate::v1;

/// Reads and checks an event of a gRPC publish. What is empty on the wire is not given.
///
/// # Errors
/// The first [`Refusal`], its field an attribute of the event.
pub fn event_from_wire(event: &v1::Event) -> Result<CloudEvent<'_>, Refusal> {
    let given = |text: &'_ String| (!text.is_empty()).then(|| Cow::Owned(text.clone()));
    let mut extensions: Vec<(Cow<'_, str>, Cow<'_, str>)> = event
        .extensions
        .iter()
        .map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Owned(quoted(value))))
        .collect();
    let size = event.source.len()
        + event.data.len()
        + extensions.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if size > EVENT_MAX_BYTES {
        return Err(Refusal::too_large(
            "",
            format!("an event is at most {EVENT_MAX_BYTES} bytes; this one has {size}"),
        ));
    }
    extensions.sort();
    let event = CloudEvent {
        id: Cow::Borrowed(&event.id),
        source: Cow::Borrowed(&event.source),
        event_type: Cow::Borrowed(&event.r#type),
        subject: given(&event.subject),
        time: given(&event.time),
        dataschema: given(&event.dataschema),
        extensions,
        data: Cow::Borrowed(event.data.trim()),
    };
    event.check()?;
    Ok(event)
}

/// Makes the wire's rejection.
pub fn rejection(refusal: &Refusal) -> v1::Rejected {
    let code = match refusal.code {
        RefusalCode::InvalidArgument => v1::RejectionCode::InvalidArgument,
        RefusalCode::NotFound => v1::RejectionCode::NotFound,
        RefusalCode::PermissionDenied => v1::RejectionCode::PermissionDenied,
        RefusalCode::TooLarge => v1::RejectionCode::TooLarge,
        RefusalCode::ResourceExhausted => v1::RejectionCode::ResourceExhausted,
        RefusalCode::Unavailable => v1::RejectionCode::Unavailable,
    };
    v1::Rejected {
        code: code.into(),
        field: refusal.field.clone(),
        message: refusal.message.clone(),
    }
}
