//! Stories of messages: sent and delivered or not, and received.

use millrace_domain::Timestamp;

use super::{ACCOUNT, Stage, Told, json::Object};

const STATUS_SCHEMA: (&str, u32) = ("Messaging.MessageStatus", 7);
const INBOUND_SCHEMA: (&str, u32) = ("Messaging.InboundMessageV1", 6);
/// Sender of every message of the account.
const SENDER: &str = "+15005550006";
const TEXTS: [&str; 6] = [
    "Your parcel is on its way and arrives between 14:00 and 16:00.",
    "Your table for two is booked for 19:30. Reply CANCEL to cancel.",
    "Tu código de acceso llegará en un momento. No lo compartas.",
    "Your appointment with Dr. Ólafsdóttir is tomorrow at 9:15. Call us if you need another time.",
    "Thanks for your order 🎉 We will write again when it ships.",
    "The maintenance window is over; all services are back.",
];
const REPLIES: [&str; 6] = ["YES", "Thank you!", "STOP", "Can we make it 10:00?", "CANCEL", "👍"];
const PLACES: [(&str, &str, &str); 4] = [
    ("SEATTLE", "WA", "98101"),
    ("AUSTIN", "TX", "78701"),
    ("DENVER", "CO", "80202"),
    ("BOSTON", "MA", "02108"),
];

/// A message goes out: sent, then delivered (and perhaps read), undelivered or failed.
pub(super) fn outbound(stage: &mut Stage, begins: Timestamp) {
    let message = Message {
        sid: stage.sid("SM"),
        to: stage.phone(),
        body: stage.pick(&TEXTS),
        service: (stage.numbers.below(3) == 0).then(|| stage.sid("MG")),
        campaign: (stage.numbers.below(4) == 0).then(|| stage.pick(&["spring", "renewal"])),
    };
    let chance = stage.numbers.below(100);
    if chance < 6 {
        let error = [30_007, 21_610][usize::from(chance < 3)];
        let failed = stage.after(begins, 80, 400);
        return tell(stage, &message, failed, "failed", Some(error));
    }
    let sent = stage.after(begins, 200, 1_500);
    tell(stage, &message, sent, "sent", None);
    let ended = stage.after(sent, 600, 9_000);
    if chance < 16 {
        let error = [30_003, 30_005, 30_006][usize::try_from(chance % 3).unwrap_or_default()];
        return tell(stage, &message, ended, "undelivered", Some(error));
    }
    tell(stage, &message, ended, "delivered", None);
    if chance >= 90 {
        let read = stage.after(ended, 2_000, 60_000);
        tell(stage, &message, read, "read", None);
    }
}

struct Message<'a> {
    sid: String,
    to: String,
    body: &'a str,
    service: Option<String>,
    campaign: Option<&'a str>,
}

fn tell(
    stage: &mut Stage,
    message: &Message<'_>,
    time: Timestamp,
    status: &str,
    error: Option<u32>,
) {
    let event_type = format!("com.twilio.messaging.message.{status}");
    let stamp = time.to_rfc3339_millis();
    let mut data = Object::new()
        .text("messageSid", &message.sid)
        .text("timestamp", &stamp)
        .text("accountSid", ACCOUNT)
        .text("eventName", &event_type)
        .text("apiVersion", "2010-04-01")
        .text("from", SENDER)
        .text("to", &message.to)
        .text("messageStatus", &status.to_ascii_uppercase())
        .text_if("messagingServiceSid", message.service.as_deref())
        .text("body", message.body)
        .object("tags", Object::new().text_if("campaign", message.campaign))
        .text("mcc", "310")
        .text("mnc", "260");
    if let Some(error) = error {
        data = data.number("errorCode", error);
    }
    if status == "delivered" {
        let done: String = stamp.chars().filter(char::is_ascii_digit).skip(2).take(10).collect();
        data = data.text("rawDlrDoneDate", &done);
    }
    // What Event Streams added in November 2024: a subscription pinned to an earlier version must not get these.
    let data = data.number("numberOfSegments", segments(message.body)).text("dateUpdated", &stamp);
    let id = stage.event_id(time);
    let source = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{}.json", message.sid);
    stage.tell(Told { time, event_type: &event_type, source, id, schema: STATUS_SCHEMA, data });
}

/// 160 characters of the basic alphabet or 70 of any other make a segment.
fn segments(body: &str) -> u32 {
    let size = if body.is_ascii() { 160 } else { 70 };
    u32::try_from(body.encode_utf16().count().div_ceil(size)).unwrap_or(1)
}

/// A message comes in.
pub(super) fn inbound(stage: &mut Stage, begins: Timestamp) {
    let time = stage.after(begins, 50, 900);
    let (sid, from) = (stage.sid("SM"), stage.phone());
    let body = stage.pick(&REPLIES);
    let place = usize::try_from(stage.numbers.below(4)).unwrap_or_default();
    let (city, state, zip) = PLACES[place];
    let event_type = "com.twilio.messaging.inbound-message.received";
    let data = Object::new()
        .text("messageSid", &sid)
        .text("timestamp", &time.to_rfc3339_millis())
        .text("accountSid", ACCOUNT)
        .text("eventName", event_type)
        .text("from", &from)
        .text("to", SENDER)
        .text("body", body)
        .number("numMedia", 0)
        .number("numSegments", segments(body))
        .text("fromCity", city)
        .text("fromState", state)
        .text("fromZip", zip)
        .text("fromCountry", "US")
        .text("toCountry", "US")
        .texts("recipients", &[])
        .text_if("optOutType", (body == "STOP").then_some("STOP"));
    let id = stage.event_id(time);
    let source = format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json");
    stage.tell(Told { time, event_type, source, id, schema: INBOUND_SCHEMA, data });
}
