//! Stories of calls: their progress as status callbacks, and what Voice Insights says of them.

use base64::{Engine, prelude::BASE64_STANDARD};
use millrace_domain::Timestamp;

use super::{ACCOUNT, Stage, Told, json::Object, later};

const WEBHOOK_SCHEMA: (&str, u32) = ("Voice.WebhookEvent", 2);
const SUMMARY_SCHEMA: (&str, u32) = ("VoiceInsights.CallSummary", 2);
const CALLER: &str = "+15005550009";
const ANSWER: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

struct Call {
    sid: String,
    to: String,
    answered: bool,
    ended: &'static str,
    seconds: u32,
    began: Timestamp,
}

/// A call is made: initiated, ringing, perhaps answered, completed; then its summaries.
pub(super) fn call(stage: &mut Stage, begins: Timestamp) {
    let answered = stage.numbers.below(100) < 78;
    let call = Call {
        sid: stage.sid("CA"),
        to: stage.phone(),
        answered,
        ended: if answered { "completed" } else { stage.pick(&["no-answer", "busy"]) },
        seconds: if answered { 8 + stage.numbers.below(240) } else { 0 },
        began: begins,
    };
    let ringing = stage.after(begins, 300, 1_200);
    progress(stage, &call, begins, 0, "initiated", "initiated");
    progress(stage, &call, ringing, 1, "ringing", "ringing");
    let picked_up = stage.after(ringing, 1_500, 20_000);
    if call.answered {
        progress(stage, &call, picked_up, 2, "answered", "in-progress");
    }
    let ended = later(picked_up, u64::from(call.seconds) * 1_000);
    progress(stage, &call, ended, 2 + u32::from(call.answered), "completed", call.ended);
    let partial = stage.after(ended, 30_000, 120_000);
    summary(stage, &call, partial, ended, "partial");
    let complete = stage.after(partial, 300_000, 900_000);
    summary(stage, &call, complete, ended, "complete");
}

fn progress(
    stage: &mut Stage,
    call: &Call,
    time: Timestamp,
    sequence: u32,
    name: &str,
    status: &str,
) {
    let id = stage.sid("VW");
    let date = time.to_rfc2822();
    let duration = call.seconds.to_string();
    let parameters = Object::new()
        .text("CallSid", &call.sid)
        .text("AccountSid", ACCOUNT)
        .text("From", CALLER)
        .text("To", &call.to)
        .text("CallStatus", status)
        .text("Direction", "outbound-api")
        .text("ApiVersion", "2010-04-01")
        .text("Timestamp", &date)
        .text("CallbackSource", "call-progress-events")
        .text("SequenceNumber", &sequence.to_string())
        .text_if("CallDuration", (name == "completed").then_some(&duration));
    let request = Object::new()
        .text("method", "POST")
        .text("url", "https://app.example.com/voice/status")
        .object("parameters", parameters);
    let response = Object::new()
        .number("responseCode", 200)
        .number("requestDuration", 20 + stage.numbers.below(180))
        .text("contentType", "text/xml")
        .text("responseBody", &BASE64_STANDARD.encode(ANSWER))
        .text("dateCreated", &date);
    let data = Object::new()
        .text("sid", &call.sid)
        .text("requestDateCreated", &date)
        .text("timestamp", &time.to_rfc3339_millis())
        .text("eventSid", &id)
        .object("request", request)
        .object("response", response);
    let event_type = format!("com.twilio.voice.status-callback.call.{name}");
    let source = format!("/2010-04-01/Accounts/{ACCOUNT}/Calls/{}.json", call.sid);
    stage.tell(Told { time, event_type: &event_type, source, id, schema: WEBHOOK_SCHEMA, data });
}

fn summary(stage: &mut Stage, call: &Call, time: Timestamp, ended: Timestamp, state: &str) {
    let call_state = match call.ended {
        "no-answer" => "noanswer",
        other => other,
    };
    let sip = if call.answered { 200 } else { 480 + 6 * u32::from(call.ended == "busy") };
    let by = stage.pick(&["caller", "callee"]);
    let data = Object::new()
        .text("call_sid", &call.sid)
        .text("account_sid", ACCOUNT)
        .text("parent_call_sid", "")
        .text("parent_account_sid", "")
        .text("call_type", "carrier")
        .text("call_state", call_state)
        .text("processing_state", state)
        .number("processing_version", if state == "partial" { 1 } else { 2 })
        .text("created_time", &call.began.to_rfc3339_seconds())
        .text("start_time", &call.began.to_rfc3339_seconds())
        .text("end_time", &ended.to_rfc3339_seconds())
        .number("duration", call.seconds + 5)
        .number("connect_duration", call.seconds)
        .object("from", party("caller", CALLER, "voip"))
        .object("to", party("callee", &call.to, "mobile"))
        .null("carrier_edge")
        .null("client_edge")
        .null("sdk_edge")
        .null("sip_edge")
        .texts("tags", if call.answered { &[] } else { &["short_duration"] })
        .null("attributes")
        .object(
            "properties",
            Object::new()
                .text("direction", "outbound_api")
                .text("disconnected_by", by)
                .number("last_sip_response_num", sip)
                .number("pdd_ms", 400 + stage.numbers.below(2_400))
                .number("queue_time", stage.numbers.below(40))
                .text("media_region", "us1")
                .text("signaling_region", "us1"),
        )
        .object(
            "trust",
            Object::new().object("verified_caller", Object::new().flag("verified", true)),
        );
    let event_type = format!("com.twilio.voice.insights.call-summary.{state}");
    let id = stage.event_id(time);
    let source = format!("/v1/Voice/{}/Summary", call.sid);
    stage.tell(Told { time, event_type: &event_type, source, id, schema: SUMMARY_SCHEMA, data });
}

fn party(role: &str, number: &str, connection: &str) -> Object {
    Object::new()
        .text(role, number)
        .text("carrier", "Example Wireless")
        .text("connection", connection)
        .text("number_prefix", "+1500555")
        .null("location")
        .text("country_code", "US")
}
