//! Event types and schemas on the wire.

use millrace_domain::schema::{EventType, EventTypeStatus, SchemaVersion, Validation};

use crate::{v1, wire_time};

impl From<EventTypeStatus> for v1::EventTypeStatus {
    fn from(status: EventTypeStatus) -> Self {
        match status {
            EventTypeStatus::Available => Self::Available,
            EventTypeStatus::Deprecated => Self::Deprecated,
            EventTypeStatus::Restricted => Self::Restricted,
            EventTypeStatus::Discontinued => Self::Discontinued,
        }
    }
}

impl From<Validation> for v1::ValidationMode {
    fn from(validation: Validation) -> Self {
        match validation {
            Validation::Enforce => Self::Enforce,
            Validation::Warn => Self::Warn,
            Validation::Off => Self::Off,
        }
    }
}

impl v1::ValidationMode {
    /// The mode in the domain's word; unspecified is none.
    pub fn to_domain(self) -> Option<Validation> {
        match self {
            Self::Unspecified => None,
            Self::Enforce => Some(Validation::Enforce),
            Self::Warn => Some(Validation::Warn),
            Self::Off => Some(Validation::Off),
        }
    }
}

impl v1::EventTypeStatus {
    /// The status in the domain's word; unspecified is none.
    pub fn to_domain(self) -> Option<EventTypeStatus> {
        match self {
            Self::Unspecified => None,
            Self::Available => Some(EventTypeStatus::Available),
            Self::Deprecated => Some(EventTypeStatus::Deprecated),
            Self::Restricted => Some(EventTypeStatus::Restricted),
            Self::Discontinued => Some(EventTypeStatus::Discontinued),
        }
    }
}

impl From<&EventType> for v1::EventType {
    fn from(event_type: &EventType) -> Self {
        Self {
            r#type: event_type.name.clone(),
            schema_id: event_type.schema_id.clone(),
            description: event_type.description.clone(),
            status: v1::EventTypeStatus::from(event_type.status).into(),
            documentation_url: event_type.documentation_url.clone().unwrap_or_default(),
            create_time: Some(wire_time(event_type.created)),
            update_time: Some(wire_time(event_type.updated)),
            validation: v1::ValidationMode::from(event_type.validation).into(),
        }
    }
}

impl From<&SchemaVersion> for v1::SchemaVersion {
    fn from(version: &SchemaVersion) -> Self {
        Self {
            schema_id: version.schema_id.clone(),
            version: version.version,
            document: version.document.clone().unwrap_or_default(),
            create_time: Some(wire_time(version.created)),
        }
    }
}
