//! What Millrace itself tells the flaky sink, which subscribes to error logs: that it refused requests.

use std::collections::HashSet;

use serde_json::Value;

use super::expect::{PLANS, Recorded};

/// Type of such an event.
const ERROR_LOGGED: &str = "com.twilio.error-logs.error.logged";
/// How the flaky sink refuses.
const REFUSED_WITH: u64 = 503;

/// What is known of the sinks, to hold what is told of them against.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    /// Whose they are.
    pub(super) account_sid: &'a str,
    /// Their SIDs, in the order of the plans.
    pub(super) sinks: Vec<&'a str>,
    /// What was published.
    pub(super) recorded: &'a [Recorded],
}

impl Problems<'_> {
    /// What is wrong with an event that arrived at the sink of a plan and was never published, if anything.
    pub(super) fn fault(&self, plan_types: &[&str], delivered: &Value) -> Option<String> {
        let id = delivered["id"].as_str().unwrap_or_default();
        if delivered["type"] != ERROR_LOGGED || !plan_types.contains(&ERROR_LOGGED) {
            return Some(format!("`{id}` was never published"));
        }
        let wrong = self.wrong(id, delivered);
        wrong.map(|what| format!("`{id}` tells of a problem with the wrong {what}: {delivered}"))
    }

    /// Tells whether an event that is right is about a sink of the demo.
    pub(super) fn is_ours(&self, delivered: &Value) -> bool {
        let payload = payload(&delivered["data"]);
        payload["sink_sid"].as_str().is_some_and(|sid| self.sinks.contains(&sid))
    }

    fn wrong(&self, id: &str, delivered: &Value) -> Option<&'static str> {
        let (data, payload) = (&delivered["data"], payload(&delivered["data"]));
        let sink = payload["sink_sid"].as_str().unwrap_or_default();
        let code = payload["error_code"].to_string();
        let of_any = [
            ("id", data["sid"] == id && id.strip_prefix("NO").is_some_and(|hex| hex.len() == 32)),
            ("source", delivered["source"] == format!("/v1/Sinks/{sink}")),
            ("product", data["product_name"] == "Event Streams"),
            ("account", data["account_sid"] == self.account_sid),
            ("sink", sink.len() == 34 && sink.starts_with("DG")),
            ("code", data["error_code"] == code.as_str()),
        ];
        let wrong = of_any.into_iter().find(|(_, holds)| !holds).map(|(what, _)| what);
        // A server that the demo did not start may have other sinks, with problems of their own.
        wrong.or_else(|| {
            let at = self.sinks.iter().position(|sid| *sid == sink)?;
            self.wrong_of_ours(at, &payload)
        })
    }

    fn wrong_of_ours(&self, at: usize, payload: &Value) -> Option<&'static str> {
        let plan = &PLANS[at];
        let expected = plan.expected(self.recorded);
        let ids: HashSet<&str> = payload["event_ids"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let counted = payload["errors"].as_u64().unwrap_or_default();
        let of_ours = [
            ("sink: it refused nothing", plan.refuses > 0),
            ("status", payload["http_status"] == REFUSED_WITH),
            ("count", (1..=u64::from(plan.refuses)).contains(&counted)),
            ("events", !ids.is_empty() && ids.iter().all(|id| expected.contains(*id))),
        ];
        of_ours.into_iter().find(|(_, holds)| !holds).map(|(what, _)| what)
    }
}

/// The details, which are JSON in a string.
fn payload(data: &Value) -> Value {
    let text = data["payload"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FLAKY: &str = "DG00000000000000000000000000000002";
    const OTHERS: &str = "DG00000000000000000000000000000009";

    fn recorded() -> Vec<Recorded> {
        let event = json!([{"id": "EZ1", "type": PLANS[1].types[0], "data": {}}]);
        serde_json::from_value(event).expect("events")
    }

    fn told(sink: &str, change: impl Fn(&mut Value, &mut Value)) -> Value {
        let id = "NO0123456789abcdef0123456789abcdef";
        let mut payload = json!({"error_code": 91503, "sink_sid": sink, "http_status": 503, "event_ids": ["EZ1"], "errors": 2});
        let mut event = json!({
            "id": id, "type": ERROR_LOGGED, "source": format!("/v1/Sinks/{sink}"),
            "data": {"sid": id, "account_sid": "AC1", "product_name": "Event Streams", "error_code": "91503"},
        });
        change(&mut event, &mut payload);
        event["data"]["payload"] = payload.to_string().into();
        event
    }

    #[test]
    fn what_the_flaky_sink_refused_is_right_and_anything_else_is_not() {
        let recorded = recorded();
        let problems = Problems {
            account_sid: "AC1",
            sinks: vec!["DG00000000000000000000000000000001", FLAKY],
            recorded: &recorded,
        };
        let fault = |event: &Value| problems.fault(PLANS[1].types, event);
        let right = told(FLAKY, |_, _| ());
        assert_eq!(fault(&right), None);
        assert!(problems.is_ours(&right));
        assert!(problems.fault(PLANS[0].types, &right).is_some(), "not subscribed to");
        let others = told(OTHERS, |_, payload| payload["http_status"] = 400.into());
        assert_eq!((fault(&others), problems.is_ours(&others)), (None, false));
        let changes: [fn(&mut Value, &mut Value); 10] = [
            |event, _| event["type"] = "com.example.other".into(),
            |event, _| event["id"] = "NO1".into(),
            |event, _| event["source"] = "/v1/Sinks/other".into(),
            |event, _| event["data"]["product_name"] = "Studio".into(),
            |event, _| event["data"]["account_sid"] = "AC2".into(),
            |event, _| event["data"]["error_code"] = "1".into(),
            |_, payload| payload["http_status"] = 500.into(),
            |_, payload| payload["errors"] = 4.into(),
            |_, payload| payload["event_ids"] = json!([]),
            |_, payload| payload["event_ids"] = json!(["EZ2"]),
        ];
        for change in changes {
            let wrong = told(FLAKY, change);
            assert!(fault(&wrong).is_some(), "{wrong}");
        }
        let batched = told("DG00000000000000000000000000000001", |_, _| ());
        assert!(fault(&batched).is_some(), "the batched sink refuses nothing");
    }
}
