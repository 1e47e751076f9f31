//! Segment's HTTP Tracking API, as far as its documentation says what it does: whom it lets in, which limits it has, and that it
//! answers 200 to what it then drops (<https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/>).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::receiver::{Answer, Receiver, Request};

/// Where batches go.
pub const BATCH: &str = "/v1/batch";
/// Most bytes of a request, of a call of it, and most calls.
const LIMITS: (usize, usize, usize) = (500 * 1024, 32 * 1024, 2_500);

/// A server of its own; stops when dropped.
pub struct Segment {
    /// What came, and how it is answered besides.
    pub receiver: Receiver,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<Value>,
    dropped: Vec<String>,
    seen: HashSet<String>,
}

impl Segment {
    /// Starts one that knows one source, by its write key.
    pub async fn start(write_key: &str) -> Self {
        let it = Self { receiver: Receiver::start().await, state: Arc::default() };
        it.serve(write_key);
        it
    }

    /// Serves as it should, from now on.
    pub fn serve(&self, write_key: &str) {
        let (state, write_key) = (Arc::clone(&self.state), write_key.to_owned());
        self.receiver.judge(BATCH, move |request| judge(&write_key, request, &mut locked(&state)));
    }

    /// The calls that it kept, in order, each once.
    pub fn calls(&self) -> Vec<Value> {
        locked(&self.state).calls.clone()
    }

    /// What it answered 200 to and dropped, and why.
    pub fn dropped(&self) -> Vec<String> {
        locked(&self.state).dropped.clone()
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn judge(write_key: &str, request: &Request, state: &mut State) -> Answer {
    let wrong = |status, why: &str| Answer::status(status).body(why);
    if request.method != "POST" || request.body.len() > LIMITS.0 {
        return wrong(400, "malformed or too large");
    }
    let json = request.header("content-type").unwrap_or_default().starts_with("application/json");
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return wrong(400, "malformed JSON");
    };
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{write_key}:")));
    let known = request.header("authorization") == Some(&basic)
        || (request.header("authorization").is_none() && body["writeKey"] == write_key);
    match (json, known, body["batch"].as_array()) {
        (false, ..) => wrong(400, "no JSON"),
        (_, false, _) => wrong(401, "no such write key"),
        (.., None) => wrong(400, "no batch"),
        (.., Some(batch)) => {
            keep(batch, state);
            Answer::ok().header("content-type", "application/json").body(r#"{"success":true}"#)
        }
    }
}

/// Keeps what is right, drops what is not and tells nobody.
fn keep(batch: &[Value], state: &mut State) {
    if batch.len() > LIMITS.2 {
        state.dropped.push("too many events".to_owned());
        return;
    }
    for call in batch {
        let text = |name: &str| call[name].as_str().unwrap_or_default();
        let about = !text("userId").is_empty() || !text("anonymousId").is_empty();
        let id = text("messageId");
        let why = match text("type") {
            _ if call.to_string().len() > LIMITS.1 => Some("too large"),
            _ if !about => Some("no_user_anon_id"),
            _ if id.is_empty() || id.chars().count() >= 100 => Some("messageId"),
            "track" if text("event").is_empty() => Some("no event"),
            "track" | "identify" | "page" | "screen" | "group" | "alias" => None,
            _ => Some("no such type"),
        };
        match why {
            Some(why) => state.dropped.push(format!("{why}: {call}")),
            None if state.seen.insert(id.to_owned()) => state.calls.push(call.clone()),
            None => {}
        }
    }
}
