//! Brings the whole product up as its users run it, on real servers or embedded, and gives tests hands on it.
//!
//! ```no_run
//! # async fn example() {
//! use millrace_testkit::receiver::Receiver;
//! use millrace_tests::{Mode, Options, Stack, TYPE, event};
//!
//! let stack = Stack::start(Mode::Embedded, Options::default()).await;
//! let receiver = Receiver::start().await;
//! let sink = stack.sink(&receiver, "/all", false).await;
//! stack.subscribe(&sink, &[TYPE]).await;
//! stack.publish([event("1")]).await;
//! receiver.until("the event arrives", |receiver| receiver.accepted() == 1).await;
//! # }
//! ```

pub mod arrivals;
mod binary;
pub mod collector;
mod embedded;
mod events;
mod identity;
mod judge;
mod load;
mod member;
mod port;
mod process;
mod publisher;
mod queue;
mod random;
mod rest;
mod scale;
mod servers;
mod stack;

pub use self::{
    binary::binary,
    events::{TYPE, cloud_event, event, event_of},
    identity::Identity,
    judge::Verdict,
    load::{Load, Published},
    member::Member,
    port::free_port,
    process::{Process, Spec},
    publisher::{Publisher, authorized, channel},
    queue::Dropped,
    random::Random,
    rest::{Answer, Rest},
    scale::scaled,
    stack::{Kind, Mode, Options, Sink, Stack},
};
