//! What is true about Millrace's subject matter: no I/O, no async, no clock, no global.
//!
//! | word | where |
//! |---|---|
//! | account, API key, platform key | [`account`] |
//! | sink, its configuration and limits | [`sink`] |
//! | subscription, subscribed event | [`subscription`] |
//! | event type, schema, schema version | [`schema`] |
//! | event (a CloudEvent 1.0) and its refusals | [`event`], [`refusal`] |
//! | route: which sinks an event goes to, at which version | [`matching`], [`projection`] |
//! | outcome of an attempt, backoff, breaker, rate limit | [`outcome`], [`backoff`], [`breaker`], [`rate`] |
//! | mark: what an event is known again by | [`mark`] |
//! | when an account is told of problems | [`error_group`] |
//! | what a request is signed with | [`signature`] |
//! | whom an event is about | [`identity`] |
//! | names of streams and roles of AWS | [`arn`] |
//! | which addresses may be delivered to | [`destination`] |
//! | the version of a configuration | [`version`] |
//!
//! A rule that needs the time, a random number or a row is given it.

pub mod account;
pub mod arn;
pub mod backoff;
pub mod breaker;
pub mod destination;
pub mod error_group;
pub mod event;
pub mod identity;
pub mod mark;
pub mod matching;
pub mod outcome;
pub mod partition;
pub mod projection;
pub mod rate;
pub mod refusal;
pub mod schema;
pub mod secret;
pub mod sid;
pub mod signature;
pub mod sink;
pub mod subscription;
pub mod timestamp;
pub mod version;

pub use account::{Account, AccountStatus, AccountUpdate, ApiKey, KeyAccess, SecondaryAuthToken};
pub use mark::Mark;
pub use partition::Partition;
pub use refusal::{Refusal, RefusalCode};
pub use secret::Secret;
pub use sid::{AccountSid, ApiKeySid, SinkSid, SubscriptionSid};
pub use sink::{Sink, SinkConfiguration, SinkDelivery, SinkStatus, SinkType, SinkUpdate};
pub use subscription::{SubscribedEvent, Subscription, SubscriptionUpdate};
pub use timestamp::Timestamp;
pub use version::ConfigVersion;
