//! Stories of verifications: a code is asked for, sent, and given back or not.

use millrace_domain::Timestamp;

use super::{ACCOUNT, Stage, Told, json::Object};

const VERIFY_SCHEMA: (&str, u32) = ("AccountSecurity.VerifyEventStreamEvent", 3);
const MESSAGE_SCHEMA: (&str, u32) = ("AccountSecurity.MessageStatusEvent", 2);
/// The one service of the account.
const SERVICE: &str = "VA5ca1ab1e000000000000000000000002";

struct Verification {
    sid: String,
    attempt: String,
    to: String,
    created: Timestamp,
}

/// A code is pending, its message sent and delivered; then it is approved, expires, or is tried too often.
pub(super) fn verification(stage: &mut Stage, begins: Timestamp) {
    let verification = Verification {
        sid: stage.sid("VE"),
        attempt: stage.sid("VL"),
        to: stage.phone(),
        created: begins,
    };
    status(stage, &verification, begins, "pending");
    let sent = stage.after(begins, 100, 900);
    message(stage, &verification, sent, "sent");
    let delivered = stage.after(sent, 500, 5_000);
    message(stage, &verification, delivered, "delivered");
    let (end, soonest, latest) = match stage.numbers.below(10) {
        0 => ("max_attempts_reached", 20_000, 90_000),
        1 => ("expired", 600_000, 600_500),
        2 => ("canceled", 5_000, 60_000),
        _ => ("approved", 4_000, 45_000),
    };
    let ended = stage.after(delivered, soonest, latest);
    status(stage, &verification, ended, end);
}

fn status(stage: &mut Stage, verification: &Verification, time: Timestamp, status: &str) {
    let verified = (status == "approved").then(|| time.to_rfc3339_millis());
    let attempt = Object::new()
        .text("time", &verification.created.to_rfc3339_millis())
        .text("channel", "SMS")
        .text("attempt_sid", &verification.attempt)
        .text("delivery_status", "SENT");
    let data = Object::new()
        .text("account_sid", ACCOUNT)
        .text("service_sid", SERVICE)
        .text("verification_sid", &verification.sid)
        .text("friendly_name", "Example")
        .flag("custom_code_enabled", false)
        .text("created_at", &verification.created.to_rfc3339_millis())
        .text_if("verified_at", verified.as_deref())
        .text("to", &verification.to)
        .text("verification_status", &status.to_ascii_uppercase())
        .text("country", "US")
        .number("code_length", 6)
        .object(
            "send_code_attempts",
            Object::new().number("count", 1).objects("attempts", vec![attempt]),
        );
    let name = format!("verification.{status}");
    tell(stage, verification, time, &name, VERIFY_SCHEMA, data);
}

fn message(stage: &mut Stage, verification: &Verification, time: Timestamp, status: &str) {
    let data = Object::new()
        .text("account_sid", ACCOUNT)
        .text("service_sid", SERVICE)
        .text("verification_sid", &verification.sid)
        .text("attempt_sid", &verification.attempt)
        .text("channel", "sms")
        .text("created_at", &time.to_rfc3339_millis())
        .text("message_status", &status.to_ascii_uppercase())
        .text("to", &verification.to)
        .text("mcc", "310")
        .text("mnc", "260")
        .text("error_code", "")
        .number("number_segments", 1)
        .flag("has_fallback", false)
        .flag("is_fallback", false)
        .object("tags", Object::new());
    tell(stage, verification, time, &format!("message.{status}"), MESSAGE_SCHEMA, data);
}

fn tell(
    stage: &mut Stage,
    verification: &Verification,
    time: Timestamp,
    name: &str,
    schema: (&str, u32),
    data: Object,
) {
    // Verify's ids are 64 hex digits.
    let id = format!("{:032x}{:032x}", stage.numbers.next_u128(), stage.numbers.next_u128());
    let event_type = format!("com.twilio.accountsecurity.verify.{name}");
    let source =
        format!("/v1/Accounts/{ACCOUNT}/Services/{SERVICE}/Verifications/{}", verification.sid);
    stage.tell(Told { time, event_type: &event_type, source, id, schema, data });
}
