//! The configuration of a webhook.

use serde::{Deserialize, Serialize};

use super::{SinkConfiguration, destination, fields::Fields};
use crate::Refusal;

/// The method of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WebhookMethod {
    /// The events as query parameters, one a request.
    Get,
    /// The events as a JSON array.
    #[default]
    Post,
}

impl WebhookMethod {
    /// `GET` or `POST`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

pub(super) fn read(fields: &mut Fields) -> Result<SinkConfiguration, Refusal> {
    let destination = destination::read(fields)?;
    let methods = [WebhookMethod::Post, WebhookMethod::Get].map(|method| (method.as_str(), method));
    let method = fields.word("method", &methods)?;
    let batch_events = fields.flag("batch_events")?;
    Ok(SinkConfiguration::Webhook { destination, method, batch_events })
}
