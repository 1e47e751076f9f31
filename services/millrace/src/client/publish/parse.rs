//! A line of the file becomes an event on the wire.

use millrace_domain::{
    AccountSid, Refusal,
    event::{ACCOUNT_EXTENSION, CloudEvent},
};
use millrace_proto::v1;
use serde_json::Value;
use uuid::Uuid;

/// Reads and checks a CloudEvent in JSON. One without `accountsid` is `account`'s (empty: the caller's); one without
/// `id` gets one, so that sending it again repeats the id.
///
/// # Errors
/// The first [`Refusal`], its field an attribute of the event.
pub(crate) fn event(json: &[u8], account: &str) -> Result<v1::Event, Refusal> {
    let mut event = CloudEvent::parse(json)?;
    let account_sid = match event.take_extension(ACCOUNT_EXTENSION) {
        None => account.to_owned(),
        Some(value) => {
            let sid = plain(&value);
            sid.parse::<AccountSid>()
                .map_err(|error| Refusal::invalid(ACCOUNT_EXTENSION, error.to_string()))?;
            sid
        }
    };
    let id = if event.id.is_empty() { new_id() } else { event.id.into_owned() };
    let owned = |text: Option<std::borrow::Cow<'_, str>>| text.map(Into::into).unwrap_or_default();
    Ok(v1::Event {
        account_sid,
        id,
        source: event.source.into_owned(),
        r#type: event.event_type.into_owned(),
        subject: owned(event.subject),
        time: owned(event.time),
        dataschema: owned(event.dataschema),
        extensions: event.extensions.iter().map(|(k, v)| (k.to_string(), plain(v))).collect(),
        data: event.data.into_owned(),
    })
}

/// `EZ` and the 32 hex digits of a UUIDv7, as the router would give.
fn new_id() -> String {
    format!("EZ{}", Uuid::now_v7().simple())
}

/// The text of a JSON string; numbers and booleans as they are written, for the wire has strings only.
fn plain(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => text,
        _ => json.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "AC00000000000000000000000000000001";

    fn line(rest: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","type":"com.example.a","source":"/a","data":{{"b": 1}}{rest}}}"#
        )
    }

    #[test]
    fn keeps_what_is_given_and_gives_an_id_where_none_is() {
        let given = event(line(r#","id":"1","n":7,"t":"x""#).as_bytes(), "").expect("valid");
        assert_eq!((given.id.as_str(), given.data.as_str()), ("1", r#"{"b": 1}"#));
        assert_eq!((given.extensions["n"].as_str(), given.extensions["t"].as_str()), ("7", "x"));
        let (a, b) = (event(line("").as_bytes(), ""), event(line("").as_bytes(), ""));
        let (a, b) = (a.expect("valid").id, b.expect("valid").id);
        assert!(a.len() == 34 && a.starts_with("EZ") && a != b);
    }

    #[test]
    fn an_event_may_name_its_account() {
        let other = "AC00000000000000000000000000000002";
        let named = line(&format!(r#","accountsid":"{other}""#));
        let named = event(named.as_bytes(), ACCOUNT).expect("valid");
        assert_eq!((named.account_sid.as_str(), named.extensions.len()), (other, 0));
        assert_eq!(event(line("").as_bytes(), ACCOUNT).expect("valid").account_sid, ACCOUNT);
        let wrong =
            event(line(r#","accountsid":"nobody""#).as_bytes(), ACCOUNT).expect_err("wrong");
        assert_eq!(wrong.field, ACCOUNT_EXTENSION);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(event(b"{", "").expect_err("no JSON").field, "");
        let wrong = line("").replace("/a", "");
        assert_eq!(event(wrong.as_bytes(), "").expect_err("no source").field, "source");
    }
}
