//! The test of a sink: its event, and how often an account may have one sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use millrace_domain::{AccountSid, Sink, SinkSid};
use millrace_proto::{internal::TestSinkRequest, v1};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Sinks, of_store};
use crate::{
    auth::Caller,
    random,
    status::{Failure, Kind, code},
    watch::View,
};

/// Most tests of an account within [`WITHIN`], by one replica.
const TESTS: usize = 10;
/// See [`TESTS`].
const WITHIN: Duration = Duration::from_secs(10);

/// When accounts last had tests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trials(Arc<Mutex<HashMap<AccountSid, VecDeque<Instant>>>>);

impl Trials {
    /// Counts a test, unless there were too many.
    fn begin(&self, account: AccountSid, now: Instant) -> Result<(), Failure> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.retain(|_, tests| {
            tests.retain(|test| now.duration_since(*test) < WITHIN);
            !tests.is_empty()
        });
        let tests = accounts.entry(account).or_default();
        if tests.len() >= TESTS {
            let message = format!("{TESTS} tests within {WITHIN:?} are enough: try again");
            return Err(Failure::new(Kind::NoRoom, code::NO_ROOM, message));
        }
        tests.push_back(now);
        Ok(())
    }
}

impl Sinks {
    /// Has a test event sent to a sink that the caller may see, and tells how it went.
    pub(crate) async fn test(&self, caller: Caller, sid: SinkSid) -> Result<v1::SinkTest, Failure> {
        let sink = self.fetch(caller, sid).await?;
        self.trials.begin(sink.account, Instant::now())?;
        let account = self.store.account(sink.account).await.map_err(of_store)?;
        let test_id = Uuid::new_v4().to_string();
        let request = TestSinkRequest {
            auth_token: account.auth_token.reveal().to_owned(),
            event_id: sink.account.to_string(),
            event: event(&sink, &self.schemas_url, &test_id).into(),
            sink: Some(View::Deliverer.sink(&sink)),
        };
        let test = self.deliverers.test(sink.account, request).await?;
        Ok(v1::SinkTest { test_id, ..test })
    }
}

/// The event that Event Streams sends as a test, whose id is the account's SID
/// (<https://www.twilio.com/docs/events/eventstreams-quickstart>).
fn event(sink: &Sink, schemas_url: &str, test_id: &str) -> Vec<u8> {
    let event = json!({
        "specversion": "1.0",
        "type": "com.twilio.eventstreams.test-event",
        "source": "Sink",
        "id": sink.account,
        "dataschema": format!("{schemas_url}/EventStreams.TestSink/1.json"),
        "datacontenttype": "application/json",
        "time": random::now().to_rfc3339_millis(),
        "data": { "test_id": test_id },
    });
    event.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_ten_tests_in_ten_seconds_and_others_theirs() {
        let (trials, start) = (Trials::default(), Instant::now());
        let (one, other) = (AccountSid::from_u128(1), AccountSid::from_u128(2));
        let at = |millis| start + Duration::from_millis(millis);
        for n in 0..10 {
            assert_eq!(trials.begin(one, at(n * 100)), Ok(()));
        }
        let refused = trials.begin(one, at(5_000)).expect_err("too many");
        assert_eq!((refused.kind, refused.code), (Kind::NoRoom, 20429));
        assert_eq!(trials.begin(other, at(5_000)), Ok(()));
        assert_eq!(trials.begin(one, at(10_001)), Ok(()), "the first is long ago");
        assert!(trials.begin(one, at(10_002)).is_err());
    }
}
