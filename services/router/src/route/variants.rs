//! The bytes of an event, written once for each schema version that its sinks ask for.

use bytes::Bytes;
use millrace_domain::{
    Refusal, SinkSid,
    event::{CloudEvent, EVENT_MAX_BYTES},
    matching::Route,
    projection::Projection,
};
use millrace_proto::internal::Variant;
use millrace_queue::chunk::sinks_bytes;

use super::Published;

/// Writes the event once for each version asked for. A sink pinned to a newer version than the event's, or to one whose
/// fields nobody knows, gets it as it is.
pub(super) fn variants(
    event: &CloudEvent<'_>,
    published: &Published<'_>,
    (routes, most): (&[Route], usize),
) -> Result<Vec<Variant>, Refusal> {
    let older = |route: &Route| {
        (route.schema_version < published.number)
            .then(|| published.schema?.version(route.schema_version))
            .flatten()
    };
    let mut wanted: Vec<(u32, Vec<SinkSid>)> = Vec::new();
    for route in routes {
        let number = older(route).map_or(published.number, |_| route.schema_version);
        match wanted.iter_mut().find(|(known, _)| *known == number) {
            Some((_, sinks)) => sinks.push(route.sink),
            None => wanted.push((number, vec![route.sink])),
        }
    }
    let mut variants = Vec::with_capacity(wanted.len());
    for (number, sinks) in wanted {
        let version = published.schema.filter(|_| number < published.number);
        let bytes = match version.and_then(|schema| schema.version(number)) {
            Some(version) => project(event, &version.projection, &version.dataschema),
            None => event.to_json(published.dataschema, &event.data),
        };
        if bytes.len() > most {
            return Err(Refusal::too_large(
                "",
                format!(
                    "an event is at most {EVENT_MAX_BYTES} bytes; this one has {}",
                    bytes.len()
                ),
            ));
        }
        variants.push(Variant {
            schema_version: number,
            event: Bytes::from(bytes),
            sinks: sinks_bytes(sinks),
        });
    }
    Ok(variants)
}

fn project(event: &CloudEvent<'_>, projection: &Projection, dataschema: &str) -> Vec<u8> {
    let projected = projection.apply(&event.data);
    event.to_json(Some(dataschema), projected.as_deref().unwrap_or(&event.data))
}
