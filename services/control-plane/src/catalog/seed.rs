//! The catalogue that Millrace comes with: the files of `catalogue/`, embedded.
//!
//! A schema file says of each property `since` which version it is there; a version's document is the file without
//! what is newer. So versions are additive by construction.

use std::{sync::Arc, time::Duration};

use millrace_domain::{
    Timestamp,
    schema::{EventType, EventTypeStatus, SchemaVersion, Validation},
};
use millrace_runtime::{CancellationToken, Readiness};
use millrace_store::{
    ResourceStore,
    audit::{Actor, acting_as},
};
use serde::Deserialize;
use serde_json::Value;

use crate::random;

/// One file a family of products: types, and how many versions of each schema are known.
const FAMILIES: [&str; 12] = [
    include_str!("../../catalogue/millrace.json"),
    include_str!("../../catalogue/messaging.json"),
    include_str!("../../catalogue/voice.json"),
    include_str!("../../catalogue/voice-insights.json"),
    include_str!("../../catalogue/error-logs.json"),
    include_str!("../../catalogue/taskrouter.json"),
    include_str!("../../catalogue/studio.json"),
    include_str!("../../catalogue/conversations.json"),
    include_str!("../../catalogue/verify.json"),
    include_str!("../../catalogue/video-insights.json"),
    include_str!("../../catalogue/compliance.json"),
    include_str!("../../catalogue/other.json"),
];

/// Schemas whose fields are known.
const SCHEMAS: [&str; 69] = [
    include_str!("../../catalogue/schemas/A2P.BrandInvalidContactEmail.json"),
    include_str!("../../catalogue/schemas/A2P.BrandRegistered.json"),
    include_str!("../../catalogue/schemas/A2P.BrandRegistrationEmail2FAClicked.json"),
    include_str!("../../catalogue/schemas/A2P.BrandRegistrationEmail2FACompleted.json"),
    include_str!("../../catalogue/schemas/A2P.BrandRegistrationEmail2FAOpened.json"),
    include_str!("../../catalogue/schemas/A2P.BrandRegistrationEmail2FASent.json"),
    include_str!("../../catalogue/schemas/A2P.BrandRegistrationEmail2FATimeout.json"),
    include_str!("../../catalogue/schemas/A2P.BrandRegistrationFailure.json"),
    include_str!("../../catalogue/schemas/A2P.BrandSecondaryVettingFailure.json"),
    include_str!("../../catalogue/schemas/A2P.BrandSharingCreated.json"),
    include_str!("../../catalogue/schemas/A2P.BrandSharingDeleted.json"),
    include_str!("../../catalogue/schemas/A2P.BrandUnverified.json"),
    include_str!("../../catalogue/schemas/A2P.BrandVerified.json"),
    include_str!("../../catalogue/schemas/A2P.BrandVettedVerified.json"),
    include_str!("../../catalogue/schemas/A2P.CampaignRegistrationApproved.json"),
    include_str!("../../catalogue/schemas/A2P.CampaignRegistrationDeleted.json"),
    include_str!("../../catalogue/schemas/A2P.CampaignRegistrationFailure.json"),
    include_str!("../../catalogue/schemas/A2P.CampaignRegistrationSubmitted.json"),
    include_str!("../../catalogue/schemas/A2P.NumberDeregistrationFailed.json"),
    include_str!("../../catalogue/schemas/A2P.NumberDeregistrationPending.json"),
    include_str!("../../catalogue/schemas/A2P.NumberDeregistrationSuccessful.json"),
    include_str!("../../catalogue/schemas/A2P.NumberRegistrationFailed.json"),
    include_str!("../../catalogue/schemas/A2P.NumberRegistrationPending.json"),
    include_str!("../../catalogue/schemas/A2P.NumberRegistrationSuccessful.json"),
    include_str!("../../catalogue/schemas/A2P.SuspendedCampaignDeleteSubmitted.json"),
    include_str!("../../catalogue/schemas/AccountSecurity.MessageStatusEvent.json"),
    include_str!("../../catalogue/schemas/AccountSecurity.VerifyEventStreamDLREvent.json"),
    include_str!("../../catalogue/schemas/AccountSecurity.VerifyEventStreamEvent.json"),
    include_str!("../../catalogue/schemas/Conversations.ConversationAdded.json"),
    include_str!("../../catalogue/schemas/Conversations.ConversationRemoved.json"),
    include_str!("../../catalogue/schemas/Conversations.ConversationStateUpdated.json"),
    include_str!("../../catalogue/schemas/Conversations.ConversationUpdated.json"),
    include_str!("../../catalogue/schemas/Conversations.MessageAdded.json"),
    include_str!("../../catalogue/schemas/Conversations.MessageRemoved.json"),
    include_str!("../../catalogue/schemas/Conversations.MessageUpdated.json"),
    include_str!("../../catalogue/schemas/Conversations.ParticipantAdded.json"),
    include_str!("../../catalogue/schemas/Conversations.ParticipantRemoved.json"),
    include_str!("../../catalogue/schemas/Conversations.ParticipantUpdated.json"),
    include_str!("../../catalogue/schemas/Conversations.UserAdded.json"),
    include_str!("../../catalogue/schemas/Conversations.UserUpdated.json"),
    include_str!("../../catalogue/schemas/DapTbt.LinkClicked.json"),
    include_str!("../../catalogue/schemas/EngagementIntelligence.TranscriptEvent.json"),
    include_str!("../../catalogue/schemas/ErrorLogs.Error.json"),
    include_str!("../../catalogue/schemas/EventStreams.TestSink.json"),
    include_str!("../../catalogue/schemas/Messaging.InboundMessageV1.json"),
    include_str!("../../catalogue/schemas/Messaging.MessageStatus.json"),
    include_str!("../../catalogue/schemas/Millrace.EventsDropped.json"),
    include_str!("../../catalogue/schemas/Millrace.SinkHealth.json"),
    include_str!("../../catalogue/schemas/Studio.FlowExecutionEvent.json"),
    include_str!("../../catalogue/schemas/Studio.FlowStepEvent.json"),
    include_str!("../../catalogue/schemas/SuperSim.ConnectionEvent.json"),
    include_str!("../../catalogue/schemas/TaskRouter.WDSEvent.json"),
    include_str!("../../catalogue/schemas/TollFree.VerificationDeleted.json"),
    include_str!("../../catalogue/schemas/TollFree.VerificationEdit.json"),
    include_str!("../../catalogue/schemas/TollFree.VerificationExpired.json"),
    include_str!("../../catalogue/schemas/TollFree.VerificationFailure.json"),
    include_str!("../../catalogue/schemas/TollFree.VerificationPendingReview.json"),
    include_str!("../../catalogue/schemas/TollFree.VerificationRejected.json"),
    include_str!("../../catalogue/schemas/TollFree.VerificationRequestApproved.json"),
    include_str!("../../catalogue/schemas/TollFree.VerificationRequested.json"),
    include_str!("../../catalogue/schemas/VideoInsights.ParticipantSummaryApi.json"),
    include_str!("../../catalogue/schemas/VideoInsights.RoomSummaryApi.json"),
    include_str!("../../catalogue/schemas/VideoInsights.VideoLogAnalyzerParticipantSummary.json"),
    include_str!("../../catalogue/schemas/VideoInsights.VideoLogAnalyzerRoomSummary.json"),
    include_str!("../../catalogue/schemas/Voice.WebhookEvent.json"),
    include_str!("../../catalogue/schemas/VoiceInsights.CallEvent.json"),
    include_str!("../../catalogue/schemas/VoiceInsights.CallSummary.json"),
    include_str!("../../catalogue/schemas/VoiceInsights.ConferenceParticipantSummary.json"),
    include_str!("../../catalogue/schemas/VoiceInsights.ConferenceSummary.json"),
];

/// First and longest wait before the next try to register.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A file of a family.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    schemas: Vec<SeedSchema>,
    types: Vec<SeedType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedSchema {
    id: String,
    versions: u32,
    /// Whether name or number of versions is a guess: nobody published it.
    #[serde(default)]
    #[expect(dead_code, reason = "for readers of the file")]
    provisional: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedType {
    #[serde(rename = "type")]
    name: String,
    schema_id: String,
    status: EventTypeStatus,
    description: String,
    documentation_url: Option<String>,
}

/// A file of a schema.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeedDocument {
    id: String,
    #[expect(dead_code, reason = "for readers of the file")]
    comment: String,
    document: Value,
}

/// What is registered at start-up.
pub(crate) struct Seed {
    pub(crate) types: Vec<EventType>,
    pub(crate) versions: Vec<SchemaVersion>,
}

impl Seed {
    /// Reads the embedded files. `schemas_url` is what a document's `$id` starts with.
    ///
    /// # Errors
    /// A file that is not what it must be, which a test rules out.
    pub(crate) fn read(schemas_url: &str, now: Timestamp) -> anyhow::Result<Self> {
        let documents = SCHEMAS
            .iter()
            .map(|file| serde_json::from_str::<SeedDocument>(file))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seed = Self { types: Vec::new(), versions: Vec::new() };
        for file in FAMILIES {
            let family = serde_json::from_str::<Family>(file)?;
            for schema in family.schemas {
                let document = documents.iter().find(|document| document.id == schema.id);
                seed.versions.extend((1..=schema.versions).map(|version| SchemaVersion {
                    schema_id: schema.id.clone(),
                    version,
                    document: document.map(|file| document_text(schemas_url, file, version)),
                    created: now,
                }));
            }
            seed.types.extend(family.types.into_iter().map(|seed| EventType {
                validation: Validation::default_of(&seed.name),
                name: seed.name,
                schema_id: seed.schema_id,
                description: seed.description,
                status: seed.status,
                documentation_url: seed.documentation_url,
                created: now,
                updated: now,
            }));
        }
        Ok(seed)
    }
}

/// Who is told that the catalogue is registered.
pub(crate) struct Registered {
    pub(crate) readiness: Readiness,
    pub(crate) told: tokio::sync::watch::Sender<bool>,
}

/// Registers the catalogue, as often as it takes: control-plane starts before its database may.
pub(crate) async fn keep_registering(
    store: Arc<dyn ResourceStore>,
    schemas_url: String,
    registered: Registered,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let seed = Seed::read(&schemas_url, random::now())?;
    let mut wait = RETRY.0;
    loop {
        // Cancelling is safe: what is not committed is not registered, and a repeat changes nothing.
        let registering =
            acting_as(Actor::Process("catalogue"), store.register(&seed.types, &seed.versions));
        match stopping.run_until_cancelled(registering).await {
            None => return Ok(()),
            Some(Ok(version)) => {
                let types = seed.types.len();
                tracing::info!(types, %version, "the catalogue is registered");
                registered.readiness.set("catalogue", true);
                registered.told.send_replace(true);
                return Ok(());
            }
            Some(Err(error)) if wait == RETRY.0 => {
                tracing::warn!(%error, "cannot register the catalogue yet, keeps trying");
            }
            Some(Err(error)) => tracing::debug!(%error, "cannot register the catalogue yet"),
        }
        stopping.run_until_cancelled(tokio::time::sleep(wait)).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

fn document_text(schemas_url: &str, file: &SeedDocument, version: u32) -> String {
    let mut document = as_of(&file.document, version);
    if let Some(fields) = document.as_object_mut() {
        let id = format!("{schemas_url}/{}/{version}", file.id);
        fields.insert("$id".to_owned(), Value::String(id));
    }
    document.to_string()
}

/// A schema as it was at `version`: without the properties that are newer, and without `since`.
fn as_of(schema: &Value, version: u32) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let known = |property: &Value| {
        property.get("since").and_then(Value::as_u64).is_none_or(|since| since <= version.into())
    };
    let kept = fields.iter().filter(|(name, _)| *name != "since").map(|(name, value)| {
        let value = match value {
            Value::Object(properties) if name == "properties" => properties
                .iter()
                .filter(|(_, property)| known(property))
                .map(|(name, property)| (name.clone(), as_of(property, version)))
                .collect(),
            Value::Object(_) => as_of(value, version),
            other => other.clone(),
        };
        (name.clone(), value)
    });
    Value::Object(kept.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use millrace_domain::{projection::Projection, schema::check_name};
    use millrace_schema::Document;

    use super::*;

    fn seed() -> Seed {
        Seed::read("https://schemas.example", Timestamp::from_millis(0)).expect("valid files")
    }

    fn document(schema_id: &str, version: u32) -> Value {
        let found = seed()
            .versions
            .into_iter()
            .find(|known| known.schema_id == schema_id && known.version == version);
        let text = found.and_then(|version| version.document).expect("a document");
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn every_type_is_there_once_and_has_a_schema() {
        let seed = seed();
        let schemas: HashSet<_> = seed.versions.iter().map(|version| &version.schema_id).collect();
        let mut names = HashSet::new();
        for event_type in &seed.types {
            assert!(names.insert(&event_type.name), "{} twice", event_type.name);
            check_name("type", &event_type.name).expect("a name");
            assert!(schemas.contains(&event_type.schema_id), "{}", event_type.schema_id);
            assert!(!event_type.description.is_empty(), "{}", event_type.name);
        }
        let mut versions = HashSet::new();
        for version in &seed.versions {
            assert!(versions.insert((&version.schema_id, version.version)));
        }
        assert!(seed.types.len() > 150, "{}", seed.types.len());
    }

    #[test]
    fn the_test_event_cannot_be_subscribed_to() {
        let seed = seed();
        let test = seed.types.iter().find(|t| t.name == "com.twilio.eventstreams.test-event");
        assert!(!test.expect("is known").status.may_be_subscribed());
    }

    #[test]
    fn an_older_version_lacks_what_came_later() {
        let (v1, v6) =
            (document("Messaging.MessageStatus", 1), document("Messaging.MessageStatus", 6));
        assert_eq!(v6["$id"], "https://schemas.example/Messaging.MessageStatus/6");
        assert_eq!(v6["properties"]["to"]["identityType"], "phone");
        assert!(v6["properties"]["numberOfSegments"].get("since").is_none());
        let data = r#"{"messageSid":"SM1","numberOfSegments":2,"tags":{"a":"b"}}"#;
        assert_eq!(Projection::of_schema(&v6).apply(data), None);
        assert_eq!(
            Projection::of_schema(&v1).apply(data).as_deref(),
            Some(r#"{"messageSid":"SM1"}"#)
        );
        let v1 = Projection::of_schema(&document("VoiceInsights.CallSummary", 1));
        assert_eq!(v1.apply(r#"{"created_time":"t"}"#).as_deref(), Some("{}"));
    }

    #[test]
    fn every_document_is_one_that_a_platform_might_register() {
        let mut before: Option<(String, Document)> = None;
        let mut documents = 0;
        for version in seed().versions {
            let Some(text) = &version.document else { continue };
            let place = format!("{} {}", version.schema_id, version.version);
            let document =
                Document::parse(text).unwrap_or_else(|problem| panic!("{place}: {problem}"));
            if let Some((schema_id, older)) = &before
                && *schema_id == version.schema_id
            {
                assert_eq!(older.breaks(&document), [], "{place}");
            }
            before = Some((version.schema_id, document));
            documents += 1;
        }
        assert!(documents > 100, "{documents}");
    }

    #[test]
    fn a_file_that_no_family_names_is_none() {
        let seed = seed();
        for file in SCHEMAS {
            let id = serde_json::from_str::<SeedDocument>(file).expect("a schema").id;
            assert!(seed.versions.iter().any(|version| version.schema_id == id), "{id}");
        }
    }

    #[test]
    fn what_is_required_is_there_from_the_first_version() {
        for file in SCHEMAS {
            let id = serde_json::from_str::<SeedDocument>(file).expect("a schema").id;
            let first = document(&id, 1);
            for required in first["required"].as_array().expect("a list") {
                let name = required.as_str().expect("a name");
                assert!(first["properties"].get(name).is_some(), "{id} {name}");
            }
            assert_eq!(first["type"], "object", "{id}");
            assert!(first["$schema"].is_string() && first["title"].is_string(), "{id}");
        }
    }
}
