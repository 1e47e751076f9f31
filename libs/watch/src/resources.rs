//! What a configuration has: each resource as routers and deliverers know it.

use std::{collections::BTreeMap, sync::Arc};

use millrace_domain::{
    AccountSid, AccountStatus, KeyAccess, Secret, SinkConfiguration, SinkDelivery, SinkSid,
    projection::Projection,
    schema::{EventTypeStatus, Validation},
    secret::SecretHash,
    sink::Headers,
};

use millrace_proto::internal::ConfigSink;

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// `AC…`.
    pub sid: AccountSid,
    /// The account this is a subaccount of.
    pub parent: Option<AccountSid>,
    /// Whether it may act.
    pub status: AccountStatus,
    /// Router's view: what its password is compared with.
    pub auth_token_hash: Option<SecretHash>,
    /// Router's view: the same of the token that will take its place.
    pub secondary_auth_token_hash: Option<SecretHash>,
    /// Deliverer's view: the key of `X-Twilio-Signature`.
    pub auth_token: Option<Secret>,
}

impl Account {
    /// Router's view: tells in constant time whether `password` is the hash of one of its tokens.
    pub fn takes(&self, password: &SecretHash) -> bool {
        let is = |hash: &Option<SecretHash>| hash.is_some_and(|hash| hash.matches(password));
        is(&self.auth_token_hash) | is(&self.secondary_auth_token_hash)
    }
}

/// An API key; router's view.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The account it acts for.
    pub account: AccountSid,
    /// What its password is compared with.
    pub secret_hash: SecretHash,
    /// What it may do.
    pub access: KeyAccess,
}

/// A sink, or what is left of one; deliverer's view.
#[derive(Clone, Debug)]
pub enum Sink {
    /// Events go to it.
    Live(Arc<LiveSink>),
    /// A tombstone: its backlog is purged.
    Deleted {
        /// Whose it was.
        account: AccountSid,
    },
}

/// A sink that events go to; deliverer's view.
#[derive(Clone, Debug)]
pub struct LiveSink {
    /// `DG…`.
    pub sid: SinkSid,
    /// Whose.
    pub account: AccountSid,
    /// Where events go.
    pub configuration: SinkConfiguration,
    /// What its requests carry besides.
    pub headers: Headers,
    /// How it asks to be delivered to.
    pub delivery: SinkDelivery,
    /// Standard Webhooks secret, `whsec_…`.
    pub signing_secret: Secret,
}

impl LiveSink {
    /// Reads the wire's sink of the deliverer's view; `None`: a tombstone, or one that cannot be read.
    pub fn of_wire(wire: &ConfigSink) -> Option<Self> {
        match crate::read::sink(wire)?.1 {
            Sink::Live(live) => Some(Arc::unwrap_or_clone(live)),
            Sink::Deleted { .. } => None,
        }
    }
}

/// An event type; router's view.
#[derive(Clone, Debug)]
pub struct EventType {
    /// The schema of its `data`.
    pub schema_id: String,
    /// Where in its life it is.
    pub status: EventTypeStatus,
    /// What becomes of events whose data does not fit.
    pub validation: Validation,
}

/// A version of a schema; router's view.
#[derive(Clone, Debug)]
pub struct SchemaVersion {
    /// The URI that `dataschema` names it by.
    pub dataschema: String,
    /// What it knows of `data`.
    pub projection: Projection,
    /// What `data` is checked by; `None`: not known.
    pub document: Option<Document>,
}

/// The text of a JSON Schema, known by its digest: the same text is the same document, however often it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// JSON.
    pub text: Arc<str>,
    /// SHA-256 of the text.
    pub digest: [u8; 32],
}

/// The versions of a schema; router's view.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub(crate) versions: BTreeMap<u32, Arc<SchemaVersion>>,
}

impl Schema {
    /// A version.
    pub fn version(&self, number: u32) -> Option<&SchemaVersion> {
        self.versions.get(&number).map(|version| &**version)
    }

    /// The newest version and its number; `None` where no version is known yet.
    pub fn latest(&self) -> Option<(u32, &SchemaVersion)> {
        self.versions.last_key_value().map(|(number, version)| (*number, &**version))
    }
}
