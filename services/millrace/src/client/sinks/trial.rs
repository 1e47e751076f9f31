//! `millrace sinks test`: one event to a sink, and how it went.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use millrace_proto::v1::{self, sink_service_client::SinkServiceClient as Client};
use serde_json::{Value, json};

use crate::client::{
    connection::Connection,
    failure::explain,
    output::{self, OutputArgs},
};

/// Tests the sink; fails if it did not take the event.
pub(super) async fn run(
    client: &mut Client<Connection>,
    output: &OutputArgs,
    sid: &str,
) -> anyhow::Result<ExitCode> {
    let request = v1::TestSinkRequest { sid: sid.to_owned() };
    let tested = client.test_sink(request).await;
    let tested = tested.map_err(|s| explain(&s, &format!("test the sink `{sid}`")))?;
    let test = tested.into_inner().test.context("the server answered without the test")?;
    match output.json {
        true => output::json(&to_json(sid, &test))?,
        false => output::line(&block(&test))?,
    }
    Ok(if test.delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_json(sid: &str, test: &v1::SinkTest) -> Value {
    let steps = test.steps.iter().map(|step| {
        json!({
            "name": step.name, "ok": step.ok, "detail": step.detail,
            "milliseconds": millis(step.duration),
        })
    });
    json!({
        "sid": sid, "test_id": test.test_id, "delivered": test.delivered,
        "steps": steps.collect::<Vec<_>>(), "http_status": some(test.http_status),
        "error_code": some(test.error_code), "detail": test.detail,
        "latency_milliseconds": millis(test.latency),
        "remedy": Some(&test.remedy).filter(|text| !text.is_empty()),
    })
}

fn block(test: &v1::SinkTest) -> String {
    let mut rows: Vec<Vec<String>> = test.steps.iter().map(step).collect();
    let result = if test.delivered { "ok" } else { "failed" };
    let status = some(test.http_status).map_or_else(String::new, |status| format!("{status} "));
    rows.push(vec![
        "deliver".to_owned(),
        result.to_owned(),
        format!("{:.1} ms", millis(test.latency)),
        format!("{status}{}", test.detail),
    ]);
    let mut text = output::columns(&["STEP", "RESULT", "TIME", "DETAIL"], rows);
    text.push_str("\n\n");
    if test.delivered {
        text.push_str(&format!("The sink took the test event, test_id {}.", test.test_id));
        return text;
    }
    text.push_str(&format!("The sink did not take the test event: error {}.\n", test.error_code));
    text.push_str(&test.remedy);
    if let Some(code) = some(test.error_code) {
        text.push_str(&format!("\nSee https://www.twilio.com/docs/api/errors/{code}"));
    }
    text
}

fn step(step: &v1::SinkTestStep) -> Vec<String> {
    let result = if step.ok { "ok" } else { "failed" };
    let time = format!("{:.1} ms", millis(step.duration));
    vec![step.name.clone(), result.to_owned(), time, step.detail.clone()]
}

fn millis(duration: Option<prost_types::Duration>) -> f64 {
    let duration = duration.and_then(|it| Duration::try_from(it).ok()).unwrap_or_default();
    duration.as_secs_f64() * 1_000.0
}

fn some(number: u32) -> Option<u32> {
    Some(number).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(delivered: bool) -> v1::SinkTest {
        let duration = Some(prost_types::Duration { seconds: 0, nanos: 1_500_000 });
        let step = v1::SinkTestStep {
            name: "dns".to_owned(),
            ok: true,
            detail: "e.example: 1 address".to_owned(),
            duration,
        };
        v1::SinkTest {
            test_id: "95001c1e".to_owned(),
            delivered,
            steps: vec![step],
            http_status: if delivered { 200 } else { 404 },
            error_code: if delivered { 0 } else { 91305 },
            detail: "said".to_owned(),
            latency: duration,
            remedy: if delivered { "" } else { "Correct the URL." }.to_owned(),
        }
    }

    #[test]
    fn tells_every_step_and_what_to_do() {
        let good = block(&test(true));
        assert!(good.contains("dns") && good.contains("1.5 ms") && good.contains("200 said"));
        assert!(good.ends_with("test_id 95001c1e."), "{good}");
        let bad = block(&test(false));
        assert!(bad.contains("error 91305") && bad.contains("Correct the URL."), "{bad}");
        let json = to_json("DG1", &test(false));
        assert_eq!((&json["error_code"], &json["http_status"]), (&json!(91305), &json!(404)));
        assert_eq!(to_json("DG1", &test(true))["remedy"], Value::Null);
    }
}
