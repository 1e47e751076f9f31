//! Requests that are whole, about one account's resources: made from the paths of REST and the descriptors of gRPC.

use std::collections::HashMap;

use millrace_domain::KeyAccess;
use millrace_proto::DESCRIPTORS;
use prost::{Message, encoding};
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};

use super::family::Member;
use crate::harness::{DELIVERED, SENT, WEBHOOK};

const READ: &str = "com.twilio.messaging.message.read";
const SCHEMA: &str = "Messaging.MessageStatus";

/// A path of REST whose variable segments name what `about` has.
pub(crate) fn path_of(path: &str, about: &Member) -> String {
    let sid = if path.contains("/Subscriptions/") {
        about.subscription.to_string()
    } else {
        about.sink.to_string()
    };
    let id = if path.contains("/Schemas/") { SCHEMA } else { "EZ1" };
    let account = match path.ends_with("{account}") {
        true => format!("{}.json", about.account),
        false => about.account.to_string(),
    };
    path.replace("{sid}", &sid)
        .replace("{account}", &account)
        .replace("{key}", &format!("{}.json", about.key(KeyAccess::PublishOnly)))
        .replace("{type}", DELIVERED)
        .replace("{id}", id)
        .replace("{version}", "1")
}

/// A form that the operation takes.
pub(crate) fn form(path: &str, about: &Member) -> String {
    let sink = about.sink.to_string();
    let types = format!(r#"{{"type": "{SENT}"}}"#);
    let fields: &[(&str, &str)] = match path {
        "/v1/Sinks" => {
            &[("Description", "a"), ("SinkType", "webhook"), ("SinkConfiguration", WEBHOOK)]
        }
        "/v1/Sinks/{sid}/Validate" => &[("TestId", "x")],
        "/v1/Subscriptions" => &[("Description", "a"), ("SinkSid", &sink), ("Types", &types)],
        path if path.ends_with("/SubscribedEvents") => &[("Type", READ)],
        path if path.ends_with("{type}") => &[("SchemaVersion", "1")],
        path if path.starts_with("/2010-04-01/") => &[("FriendlyName", "a")],
        path if path.ends_with("{sid}") => &[("Description", "a")],
        _ => &[],
    };
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

/// The messages of gRPC, by their full names.
pub(crate) struct Messages {
    messages: HashMap<String, DescriptorProto>,
    requests: HashMap<String, String>,
}

impl Messages {
    pub(crate) fn read() -> Self {
        let set = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let (mut messages, mut requests) = (HashMap::new(), HashMap::new());
        for file in set.file {
            let package = file.package().to_owned();
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{package}.{}/{}", service.name(), method.name());
                    requests.insert(path, method.input_type().to_owned());
                }
            }
            for message in file.message_type {
                messages.insert(format!(".{package}.{}", message.name()), message);
            }
        }
        Self { messages, requests }
    }

    /// Whether the request of a method names an account to act for.
    pub(crate) fn names_account(path: &str) -> bool {
        let messages = Self::read();
        let request = &messages.messages[&messages.requests[path]];
        let creates = path.contains("/Create");
        request.field.iter().any(|field| {
            let inner = messages.messages.get(field.type_name()).filter(|_| creates);
            let names = |name: &str| name == "account_sid";
            names(field.name())
                || inner.is_some_and(|inner| inner.field.iter().any(|field| names(field.name())))
        })
    }

    /// The bytes of a method's request about what `about` has.
    pub(crate) fn request(&self, path: &str, about: &Member) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.fill(&self.requests[path], path, about, &mut bytes);
        bytes
    }

    fn fill(&self, message: &str, path: &str, about: &Member, bytes: &mut Vec<u8>) {
        for field in &self.messages[message].field {
            let tag = u32::try_from(field.number()).expect("positive");
            if field.r#type() == Type::Message && self.messages.contains_key(field.type_name()) {
                if field.type_name().starts_with(".google.") || field.name() == "configuration" {
                    continue;
                }
                let mut inner = Vec::new();
                self.fill(field.type_name(), path, about, &mut inner);
                encoding::bytes::encode(tag, &inner, bytes);
            } else if let Some(text) = text(message, field.name(), path, about) {
                encoding::string::encode(tag, &text, bytes);
            }
        }
    }
}

/// What a text field of a message says; `None`: nothing.
fn text(message: &str, field: &str, path: &str, about: &Member) -> Option<String> {
    let makes_account = path.ends_with("/CreateAccount");
    match field {
        "sid" if makes_account || path.contains("/Create") => None,
        "sid" if path.contains("ApiKey") => Some(about.key(KeyAccess::PublishOnly).to_string()),
        "sid" if path.contains("AccountService") => Some(about.account.to_string()),
        "sid" if path.contains("Subscription") => Some(about.subscription.to_string()),
        "sid" => Some(about.sink.to_string()),
        // Of what is there already, whose it is is not asked.
        "account_sid" if path.contains("/Update") => None,
        "account_sid" | "parent_sid" => Some(about.account.to_string()),
        "sink_sid" => Some(about.sink.to_string()),
        "subscription_sid" => Some(about.subscription.to_string()),
        "type" if path.contains("/AddSubscribedEvent") => Some(READ.to_owned()),
        "type" if message.contains("Event") => Some(DELIVERED.to_owned()),
        "schema_id" if path.contains("/List") && path.contains("EventType") => None,
        "id" if path.contains("/GetSchema") => Some(SCHEMA.to_owned()),
        "schema_id" => Some(SCHEMA.to_owned()),
        "description" | "friendly_name" if !path.contains("/List") => Some("a".to_owned()),
        _ => None,
    }
}
