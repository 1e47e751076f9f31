//! What a receiver remembers of a request.

use std::time::Instant;

use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST`, `GET`, ….
    pub method: String,
    /// Path and query as requested.
    pub target: String,
    /// Names in lower case, in the order of the request.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// When it had arrived whole.
    pub arrived: Instant,
    /// Which of the receiver's connections it came on, from 1.
    pub connection: usize,
    /// The ids of its events: of the JSON array in the body, of its one event, of its Track calls; or of the header `ce-id`, or
    /// the query's `id`.
    pub ids: Vec<String>,
    /// What it was answered with; `None`: with a fault.
    pub status: Option<u16>,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The decoded parameters of the query.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The first parameter `name` of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The value of header `name`, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The events of the body; empty if it is not a JSON array.
    pub fn events(&self) -> Vec<Value> {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether it was answered with 2xx.
    pub fn was_accepted(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }

    /// The ids of the events it carries.
    pub(super) fn read_ids(&self) -> Vec<String> {
        if let Some(id) = self.header("ce-id") {
            return vec![id.to_owned()];
        }
        if self.body.is_empty() {
            return self.parameter("id").into_iter().collect();
        }
        let id = |event: &Value, name: &str| event.get(name)?.as_str().map(str::to_owned);
        match serde_json::from_slice(&self.body) {
            Ok(Value::Array(events)) => events.iter().filter_map(|it| id(it, "id")).collect(),
            Ok(one) => match one["batch"].as_array() {
                Some(calls) => calls.iter().filter_map(|it| id(it, "messageId")).collect(),
                None => id(&one, "id").into_iter().collect(),
            },
            Err(_) => Vec::new(),
        }
    }
}
