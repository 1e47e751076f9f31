//! What the configuration says of a sink: whether its events may be sent.

use std::{sync::Arc, time::Duration};

use millrace_domain::{AccountSid, AccountStatus, Secret, SinkSid, identity::Identities};
use millrace_proto::internal::DropReason;
use millrace_sinks::{Prepared, SinkSpec};
use millrace_watch::{Configuration, LiveSink, Sink};

/// How a sink stands.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Deliver to it.
    Live(Arc<SinkSpec>),
    /// Keep its events: it is paused, or its account is suspended.
    Held {
        /// The window it asks for, if it does.
        window: Option<Duration>,
    },
    /// Keep its events: it is not known yet, or not any more.
    Unknown,
    /// Give its events up.
    Gone(DropReason),
}

/// Looks a sink up. Without a configuration everything is held.
pub(crate) fn of(configuration: Option<&Configuration>, sid: SinkSid) -> Standing {
    let Some(configuration) = configuration else { return Standing::Unknown };
    let sink = match configuration.sink(sid) {
        Some(Sink::Live(sink)) => sink,
        Some(Sink::Deleted { account }) => {
            return Standing::Gone(why_gone(configuration, *account));
        }
        None => return Standing::Unknown,
    };
    let held = Standing::Held { window: sink.delivery.window };
    let Some(account) = configuration.account(sink.account) else { return held };
    let Some(auth_token) = account.auth_token.clone() else { return held };
    match configuration.account_status(account) {
        AccountStatus::Closed => Standing::Gone(DropReason::AccountClosed),
        AccountStatus::Suspended => held,
        AccountStatus::Active if sink.delivery.paused => held,
        AccountStatus::Active => {
            let identities = Arc::clone(configuration.identities());
            Standing::Live(Arc::new(spec(sink, auth_token, identities)))
        }
    }
}

/// What a driver has to know of a sink.
pub(crate) fn spec(sink: &LiveSink, auth_token: Secret, identities: Arc<Identities>) -> SinkSpec {
    SinkSpec {
        sid: sink.sid,
        account: sink.account,
        configuration: sink.configuration.clone(),
        headers: sink.headers.clone(),
        delivery: sink.delivery,
        auth_token,
        signing_secret: sink.signing_secret.clone(),
        identities,
        prepared: Prepared::default(),
    }
}

/// Why a sink is gone: an account that is closed takes its sinks along.
fn why_gone(configuration: &Configuration, account: AccountSid) -> DropReason {
    match configuration.account(account).map(|account| account.status) {
        Some(AccountStatus::Closed) => DropReason::AccountClosed,
        _ => DropReason::SinkDeleted,
    }
}
