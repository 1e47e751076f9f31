//! `millrace types push`: makes a server's types what the files of a directory say. What is in no file is left alone.

use std::collections::BTreeMap;

use millrace_domain::schema::{EventTypeStatus, Validation, is_reserved};
use millrace_proto::v1::{
    CreateEventTypeRequest, EventType, EventTypeStatus as WireStatus, UpdateEventTypeRequest,
    ValidationMode,
};
use prost_types::FieldMask;

use super::Client;
use crate::client::{
    connection::Connection,
    directory::{Directory, TypeFile},
    failure::explain,
    list::LimitArgs,
    output, shape,
};

/// What is to be done about a type.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Add(EventType),
    /// The type as it is to be, and what differs, in words.
    Change(EventType, Vec<String>),
}

/// Registers and changes types, and prints the difference. `dry_run`: changes nothing.
///
/// # Errors
/// What the server refuses; a type whose schema is another there.
pub(super) async fn push(
    client: &Client<Connection>,
    directory: &Directory,
    dry_run: bool,
) -> anyhow::Result<()> {
    let listed = super::list_types(client, "", &LimitArgs { limit: None }).await?;
    let known = listed.into_iter().map(|known| (known.r#type.clone(), known)).collect();
    let steps = steps(directory, &known)?;
    let (mut added, mut changed) = (0, 0);
    for step in &steps {
        if !dry_run {
            apply(client, step).await?;
        }
        match step {
            Step::Add(event_type) => {
                added += 1;
                let (name, schema_id) = (&event_type.r#type, &event_type.schema_id);
                output::line(&format!("+ type {name} (schema {schema_id})"))?;
            }
            Step::Change(event_type, differences) => {
                changed += 1;
                output::line(&format!("~ type {}: {}", event_type.r#type, differences.join("; ")))?;
            }
        }
    }
    let unchanged = directory.types.len() - steps.len();
    let would = if dry_run { "to be " } else { "" };
    output::line(&format!(
        "types: {added} {would}added, {changed} {would}changed, {unchanged} unchanged"
    ))
}

async fn apply(client: &Client<Connection>, step: &Step) -> anyhow::Result<()> {
    let (Step::Add(event_type) | Step::Change(event_type, _)) = step;
    let doing = format!("push the event type `{}`", event_type.r#type);
    if is_reserved(&event_type.r#type) {
        let request = UpdateEventTypeRequest {
            event_type: Some(event_type.clone()),
            update_mask: Some(FieldMask { paths: vec!["validation".to_owned()] }),
        };
        let updated = client.clone().update_event_type(request).await;
        updated.map_err(|status| explain(&status, &doing))?;
    } else {
        let request = CreateEventTypeRequest { event_type: Some(event_type.clone()) };
        let made = client.clone().create_event_type(request).await;
        made.map_err(|status| explain(&status, &doing))?;
    }
    Ok(())
}

/// What makes `known` what the directory says.
fn steps(directory: &Directory, known: &BTreeMap<String, EventType>) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    for file in directory.types.values() {
        let name = &file.name;
        let Some(now) = known.get(name) else {
            anyhow::ensure!(!is_reserved(name), "`{name}` is no type of the server's catalogue");
            steps.push(Step::Add(wanted(file, &EventType::default())));
            continue;
        };
        let wanted = wanted(file, now);
        anyhow::ensure!(
            wanted.schema_id == now.schema_id,
            "`{name}` has the schema `{}` on the server, which cannot change to `{}`",
            now.schema_id,
            wanted.schema_id
        );
        let differences = differences(now, &wanted);
        if !differences.is_empty() {
            steps.push(Step::Change(wanted, differences));
        }
    }
    Ok(steps)
}

/// The type as a file says; of one of the catalogue only the validation.
fn wanted(file: &TypeFile, now: &EventType) -> EventType {
    let validation = file.validation.unwrap_or_else(|| Validation::default_of(&file.name));
    let validation = ValidationMode::from(validation).into();
    if is_reserved(&file.name) {
        return EventType { validation, ..now.clone() };
    }
    EventType {
        r#type: file.name.clone(),
        schema_id: file.schema_id.clone().unwrap_or_default(),
        description: file.description.clone().unwrap_or_default(),
        status: WireStatus::from(file.status.unwrap_or(EventTypeStatus::Available)).into(),
        documentation_url: file.documentation_url.clone().unwrap_or_default(),
        validation,
        ..EventType::default()
    }
}

fn differences(now: &EventType, wanted: &EventType) -> Vec<String> {
    let status = |it: &EventType| shape::word(it.status().as_str_name(), "EVENT_TYPE_STATUS_");
    let validation =
        |it: &EventType| shape::word(it.validation().as_str_name(), "VALIDATION_MODE_");
    [
        ("description", format!("{:?}", now.description), format!("{:?}", wanted.description)),
        ("status", status(now), status(wanted)),
        ("page", format!("{:?}", now.documentation_url), format!("{:?}", wanted.documentation_url)),
        ("validation", validation(now), validation(wanted)),
    ]
    .into_iter()
    .filter(|(_, before, after)| before != after)
    .map(|(what, before, after)| format!("{what} {before} → {after}"))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&str]) -> Directory {
        let mut directory = Directory::default();
        for file in files {
            let file: TypeFile = serde_json::from_str(file).expect("a file");
            directory.types.insert(file.name.clone(), file);
        }
        directory
    }

    fn known(types: &[EventType]) -> BTreeMap<String, EventType> {
        types.iter().map(|known| (known.r#type.clone(), known.clone())).collect()
    }

    const FILE: &str = r#"{"type":"com.example.a","schema_id":"A","description":"d"}"#;

    #[test]
    fn a_push_that_was_done_has_nothing_to_do() {
        let directory = directory(&[FILE]);
        let first = steps(&directory, &known(&[])).expect("steps");
        let [Step::Add(added)] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!(added.validation(), ValidationMode::Enforce);
        assert_eq!(steps(&directory, &known(std::slice::from_ref(added))).expect("steps"), []);
    }

    #[test]
    fn what_differs_is_told() {
        let now = EventType {
            r#type: "com.example.a".to_owned(),
            schema_id: "A".to_owned(),
            description: "before".to_owned(),
            status: WireStatus::Deprecated.into(),
            validation: ValidationMode::Off.into(),
            ..EventType::default()
        };
        let steps = steps(&directory(&[FILE]), &known(std::slice::from_ref(&now))).expect("steps");
        let [Step::Change(_, told)] = steps.as_slice() else { panic!("{steps:?}") };
        let expected = [
            r#"description "before" → "d""#,
            "status deprecated → available",
            "validation off → enforce",
        ];
        assert_eq!(told, &expected);
        let moved = EventType { schema_id: "B".to_owned(), ..now };
        assert!(super::steps(&directory(&[FILE]), &known(&[moved])).is_err());
    }

    #[test]
    fn of_the_catalogues_types_only_the_validation_changes() {
        let name = "com.twilio.messaging.message.sent";
        let now = EventType {
            r#type: name.to_owned(),
            schema_id: "Messaging.MessageStatus".to_owned(),
            description: "theirs".to_owned(),
            validation: ValidationMode::Warn.into(),
            ..EventType::default()
        };
        let file = format!(r#"{{"type":"{name}","validation":"enforce"}}"#);
        let steps = steps(&directory(&[&file]), &known(&[now])).expect("steps");
        let [Step::Change(wanted, told)] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(
            (told.as_slice(), wanted.description.as_str()),
            (&["validation warn → enforce".to_owned()][..], "theirs")
        );
        assert!(super::steps(&directory(&[&file]), &known(&[])).is_err());
    }
}
