//! Every answer that a test gets over REST fits the document that is served, and Twilio's own where that knows the operation
//! (`fixtures/openapi`, without texts and examples).

use std::sync::LazyLock;

use millrace_domain::Timestamp;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

/// <https://github.com/twilio/twilio-oai>, 2.6.7: Event Streams, and of the 2010 API accounts and keys; its licence is beside it.
pub(crate) static OFFICIAL: LazyLock<Value> = LazyLock::new(|| {
    let mut whole = read(include_str!("../fixtures/openapi/twilio_events_v1.json"));
    add(&mut whole, read(include_str!("../fixtures/openapi/twilio_api_v2010.json")));
    whole
});

/// What `/openapi.json` serves.
pub(crate) static OURS: LazyLock<Value> = LazyLock::new(|| {
    let mut whole = read(include_str!("../../openapi/root.json"));
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi");
    for file in std::fs::read_dir(directory).expect("the parts of the document") {
        let part = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        add(&mut whole, read(&part));
    }
    whole
});

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn add(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (name, value) in part {
                add(whole.entry(name).or_insert(Value::Null), value);
            }
        }
        (whole, part) => *whole = part,
    }
}

/// Panics where an answer does not fit.
pub(crate) fn check(method: &Method, path: &str, status: StatusCode, body: &Value) {
    if let Some(operation) = operation(&OURS, method, path) {
        fits(&OURS, operation, status, body);
    }
    let official = operation(&OFFICIAL, method, path);
    if let Some(operation) = official.filter(|_| status.is_success()) {
        fits(&OFFICIAL, operation, status, &without_our_types(body));
    }
}

/// A sink of a type of ours as one of Twilio's: these are the one thing that their document lacks.
fn without_our_types(body: &Value) -> Value {
    let mut body = body.clone();
    if matches!(body["sink_type"].as_str(), Some("cloudevents" | "file")) {
        body["sink_type"] = "webhook".into();
    }
    body
}

fn fits(document: &Value, operation: &Value, status: StatusCode, body: &Value) {
    let responses = &operation["responses"];
    let named = responses.get(status.as_str()).or_else(|| {
        // Success has a shape of its own.
        responses.get("default").filter(|_| !status.is_success())
    });
    let id = &operation["operationId"];
    let named = named.unwrap_or_else(|| panic!("{id} does not answer {status}: {body}"));
    let content = resolved(document, named)["content"].as_object();
    let schema = content.and_then(|content| content.values().next());
    match schema {
        Some(media) => {
            if let Err(problem) = valid(document, &media["schema"], body, "") {
                panic!("{id} answered {status}, which does not fit: {problem}\n{body:#}");
            }
        }
        None => assert!(body.is_null(), "{id} answers {status} without a body, not {body}"),
    }
}

/// The operation of a path, whose variable segments may hold anything.
pub(crate) fn operation<'a>(document: &'a Value, method: &Method, path: &str) -> Option<&'a Value> {
    let paths = document["paths"].as_object()?;
    let found = paths.get_key_value(path).or_else(|| {
        paths.iter().find(|(template, _)| {
            let (known, asked) = (template.split('/'), path.split('/'));
            template.split('/').count() == path.split('/').count()
                && known.zip(asked).all(|(known, asked)| known.starts_with('{') || known == asked)
        })
    });
    found?.1.get(method.as_str().to_lowercase())
}

pub(crate) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("of this document");
            document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {reference}"))
        }
        None => value,
    }
}

/// Tells what of `value` a schema of OpenAPI 3.0 forbids: the keywords that these documents use.
pub(crate) fn valid(
    document: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
) -> Result<(), String> {
    let schema = resolved(document, schema);
    if let Some(choices) = schema["anyOf"].as_array() {
        let fit = choices.iter().any(|choice| valid(document, choice, value, at).is_ok());
        return fit.then_some(()).ok_or_else(|| format!("{at}: none of the choices"));
    }
    if value.is_null() && schema["nullable"] == true {
        return Ok(());
    }
    let is = match schema["type"].as_str() {
        None => return Ok(()),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some(other) => return Err(format!("{at}: unknown type {other}")),
    };
    if !is {
        return Err(format!("{at}: {value} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return Err(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    bounds(schema, value, at)?;
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        value.get(name).ok_or_else(|| format!("{at}/{name}: is missing"))?;
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        match schema["properties"].get(name) {
            Some(property) => valid(document, property, value, &at)?,
            None if schema["additionalProperties"] == false => {
                return Err(format!("{at}: is not known"));
            }
            None => {}
        }
    }
    for (position, item) in value.as_array().into_iter().flatten().enumerate() {
        valid(document, &schema["items"], item, &format!("{at}/{position}"))?;
    }
    Ok(())
}

fn bounds(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{at}: {value} {why}"));
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|least| length < least)
            || schema["maxLength"].as_u64().is_some_and(|most| length > most)
        {
            return wrong("is too short or too long");
        }
        let fits = match schema["format"].as_str() {
            // The 2010 API's are relative, and so its SDKs read them.
            Some("uri") if is_relative(at) => text.starts_with("/2010-04-01/"),
            Some("uri") => Url::parse(text).is_ok(),
            Some("date-time") => Timestamp::parse_rfc3339(text).is_some(),
            Some("date-time-rfc-2822") => is_rfc2822(text),
            _ => true,
        };
        if !fits || schema["pattern"].as_str().is_some_and(|pattern| !matches(pattern, text)) {
            return wrong("has another format");
        }
    }
    if schema["format"] == "uri-map" {
        let fits = |uri: &str| match at.ends_with("uris") {
            true => uri.starts_with("/2010-04-01/"),
            false => Url::parse(uri).is_ok(),
        };
        let mut uris = value.as_object().into_iter().flatten();
        if !uris.all(|(_, uri)| uri.as_str().is_some_and(fits)) {
            return wrong("has something in it that is no URI");
        }
    }
    if let Some(number) = value.as_i64()
        && (schema["minimum"].as_i64().is_some_and(|least| number < least)
            || schema["maximum"].as_i64().is_some_and(|most| number > most))
    {
        return wrong("is out of bounds");
    }
    Ok(())
}

/// Whether what stands there is a URI without a host: of what has one, Twilio calls it a URL.
pub(crate) fn is_relative(name: &str) -> bool {
    name.ends_with("uri")
}

/// Whether it is a date such as `Fri, 02 Jan 2026 03:04:05 +0000`, its day of the week included.
fn is_rfc2822(text: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [_, day, month, year, time, "+0000"] = text.split(' ').collect::<Vec<_>>()[..] else {
        return false;
    };
    let month = MONTHS.iter().position(|name| *name == month).map_or(0, |month| month + 1);
    let same = Timestamp::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z"));
    same.is_some_and(|time| time.to_rfc2822() == text)
}

/// The patterns of the documents are those of SIDs: `^XX[0-9a-fA-F]{32}$`.
fn matches(pattern: &str, text: &str) -> bool {
    let prefix = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix("[0-9a-fA-F]{32}$"));
    let digits = text.strip_prefix(prefix.expect("the pattern of a SID"));
    digits.is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
