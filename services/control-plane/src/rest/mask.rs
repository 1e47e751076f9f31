//! `rest.mask_secrets`: what stands in place of the secrets of a `sink_configuration`.

use millrace_domain::SinkConfiguration;
use serde_json::Value;
use url::Url;

use crate::status::{Failure, code};

/// In place of a secret.
pub(super) const MASK: &str = "***";
/// The settings of a sink that are secret as a whole.
const SECRET_KEYS: [&str; 2] = ["write_key", "external_id"];

/// A configuration without its secrets: those of a URL are its password, and the user it belongs to stays.
pub(super) fn masked(mut configuration: Value) -> Value {
    for (key, value) in configuration.as_object_mut().into_iter().flatten() {
        let Value::String(text) = value else { continue };
        if SECRET_KEYS.contains(&key.as_str()) {
            MASK.clone_into(text);
        } else if let Ok(mut url) = Url::parse(text)
            && url.password().is_some()
            && url.set_password(Some(MASK)).is_ok()
        {
            *text = url.into();
        }
    }
    configuration
}

/// Refuses what was read masked and is sent back so: the secret would be lost.
pub(super) fn refuse(configuration: Option<&SinkConfiguration>) -> Result<(), Failure> {
    let Some(Value::Object(fields)) = configuration.map(SinkConfiguration::to_json) else {
        return Ok(());
    };
    let is_masked =
        |text: &str| text == MASK || Url::parse(text).is_ok_and(|url| url.password() == Some(MASK));
    match fields.iter().find(|(_, value)| value.as_str().is_some_and(is_masked)) {
        Some((key, _)) => Err(Failure::invalid(
            code::SINK_INVALID,
            format!("SinkConfiguration.{key}"),
            "has the mask of a secret: give the secret itself, or leave `SinkConfiguration` out",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_and_everything_else_stays() {
        for (shown, expected) in [
            (
                json!({"destination": "https://u:p@e.example/x?y=1", "batch_events": true}),
                json!({"destination": "https://u:***@e.example/x?y=1", "batch_events": true}),
            ),
            (
                json!({"destination": "https://e.example/x", "method": "POST"}),
                json!({"destination": "https://e.example/x", "method": "POST"}),
            ),
            (
                json!({"arn": "arn:aws:kinesis:x", "role_arn": "arn:aws:iam:y", "external_id": "z"}),
                json!({"arn": "arn:aws:kinesis:x", "role_arn": "arn:aws:iam:y", "external_id": "***"}),
            ),
            (json!({"write_key": "secret"}), json!({"write_key": "***"})),
        ] {
            assert_eq!(masked(shown), expected);
        }
    }
}
