//! What the configuration says of a sink: whether its events may be sent.

use std::sync::Arc;

use millrace_domain::{AccountStatus, SinkSid};
use millrace_proto::internal::DropReason;
use millrace_sinks::SinkSpec;
use millrace_watch::{Configuration, Sink};

/// How a sink stands.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Deliver to it.
    Live(Arc<SinkSpec>),
    /// Keep its events: it is not known yet or paused, or its account is suspended.
    Held,
    /// Give its events up.
    Gone(DropReason),
}

/// Looks a sink up. Without a configuration everything is held.
pub(crate) fn of(configuration: Option<&Configuration>, sid: SinkSid) -> Standing {
    let Some(configuration) = configuration else { return Standing::Held };
    let sink = match configuration.sink(sid) {
        Some(Sink::Live(sink)) => sink,
        Some(Sink::Deleted { .. }) => return Standing::Gone(DropReason::SinkDeleted),
        None => return Standing::Held,
    };
    let Some(account) = configuration.account(sink.account) else { return Standing::Held };
    let Some(auth_token) = account.auth_token.clone() else { return Standing::Held };
    match account.status {
        AccountStatus::Closed => Standing::Gone(DropReason::AccountClosed),
        AccountStatus::Suspended => Standing::Held,
        AccountStatus::Active if sink.delivery.paused => Standing::Held,
        AccountStatus::Active => Standing::Live(Arc::new(SinkSpec {
            sid,
            account: sink.account,
            configuration: sink.configuration.clone(),
            delivery: sink.delivery,
            auth_token,
            signing_secret: sink.signing_secret.clone(),
        })),
    }
}
