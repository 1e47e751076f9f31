//! What keeps sinks from being called, by the configuration.

use std::collections::HashMap;

use millrace_domain::{AccountSid, AccountStatus, Sink, SinkSid, SinkStatus};
use millrace_proto::v1::SinkHold;
use millrace_store::Resource;

use super::family::Family;

/// The sinks of some accounts of a family.
#[derive(Default)]
pub(super) struct Holds<'a> {
    sinks: HashMap<SinkSid, Known<'a>>,
}

struct Known<'a> {
    account: AccountSid,
    /// The account's, its parent being what it is.
    status: Option<AccountStatus>,
    /// `None`: deleted.
    sink: Option<&'a Sink>,
}

impl<'a> Holds<'a> {
    /// Of those accounts of a family that are `seen`.
    pub(super) fn of(family: &'a Family, seen: &[AccountSid]) -> Self {
        let mut holds = Self::default();
        for account in seen {
            let status = family.status(*account);
            for resource in family.resources(*account) {
                let (sid, sink) = match resource {
                    Resource::Sink(sink) => (sink.sid, Some(sink)),
                    Resource::SinkTombstone(sid, _) => (*sid, None),
                    _ => continue,
                };
                holds.sinks.insert(sid, Known { account: *account, status, sink });
            }
        }
        holds
    }

    /// The sink, unless it is deleted.
    pub(super) fn sink(&self, sid: SinkSid) -> Option<&'a Sink> {
        self.sinks.get(&sid).and_then(|known| known.sink)
    }

    /// Whose it is, or was.
    pub(super) fn account(&self, sid: SinkSid) -> Option<AccountSid> {
        self.sinks.get(&sid).map(|known| known.account)
    }

    /// What keeps it from being called.
    pub(super) fn hold(&self, sid: SinkSid) -> SinkHold {
        let Some(known) = self.sinks.get(&sid) else { return SinkHold::Deleted };
        match (known.status, known.sink) {
            (Some(AccountStatus::Closed), _) => SinkHold::AccountClosed,
            (Some(AccountStatus::Suspended), _) => SinkHold::AccountSuspended,
            (_, None) => SinkHold::Deleted,
            (_, Some(sink)) if sink.delivery.paused => SinkHold::Paused,
            (_, Some(sink)) if sink.status == SinkStatus::Failed => SinkHold::Failed,
            (_, Some(_)) => SinkHold::Unspecified,
        }
    }
}
