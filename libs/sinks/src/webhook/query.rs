//! An event as query parameters, for webhooks that are called with `GET`.
//!
//! Each attribute is a parameter of its own name: a text as it is, a number or boolean as JSON writes it, `data` as JSON
//! without insignificant white space. Parameters follow those of the destination, sorted by name, form-encoded
//! (space: `+`, other than `A-Z a-z 0-9 * - . _`: UTF-8 in `%XX`). Event Streams does not document its encoding.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use url::Url;

/// Adds the attributes of `event`, a JSON object, to the query of `url`.
///
/// # Errors
/// The event is no JSON object.
pub(super) fn append_event(url: &mut Url, event: &[u8]) -> Result<(), serde_json::Error> {
    let attributes = serde_json::from_slice::<BTreeMap<String, &RawValue>>(event)?;
    let mut query = url.query_pairs_mut();
    for (name, value) in attributes {
        match serde_json::from_str::<String>(value.get()) {
            Ok(text) => query.append_pair(&name, &text),
            Err(_) => query.append_pair(&name, &compact(value.get())),
        };
    }
    Ok(())
}

/// `json`, which is valid, without white space between its tokens; numbers and the order of keys stay as they are.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let significant = |character: &char| {
        let keep = in_string || !character.is_ascii_whitespace();
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        keep
    };
    json.chars().filter(significant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_dropped_only_between_tokens() {
        let json = "{ \"b\" : [ 1.50 , 2e3 ],\n\t\"a \\\" b\": \"x  \\\\\" , \"c\" : null }";
        assert_eq!(compact(json), r#"{"b":[1.50,2e3],"a \" b":"x  \\","c":null}"#);
    }

    #[test]
    fn attributes_become_parameters_after_those_of_the_destination() {
        let mut url = Url::parse("https://e.example/x?k=1").expect("valid");
        let event = br#"{"id":"a&b","specversion":"1.0","n":7,"data":{"t": "h\u00e9 y"}}"#;
        append_event(&mut url, event).expect("an object");
        assert_eq!(
            url.as_str(),
            "https://e.example/x?k=1&data=%7B%22t%22%3A%22h%5Cu00e9+y%22%7D&id=a%26b&n=7&specversion=1.0"
        );
        assert!(append_event(&mut url, b"[]").is_err());
    }
}
