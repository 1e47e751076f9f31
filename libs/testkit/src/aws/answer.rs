//! What the two services answer: STS in XML, Kinesis in JSON 1.1.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    Assumption, Course, Record, State,
    http::{Answer, Request},
};

/// Most bytes of a record, its key included.
const RECORD_MAX_BYTES: usize = 1024 * 1024;

/// Takes a request and says how it is answered, and on which course.
pub(super) fn to(request: &Request, state: &Mutex<State>) -> (Course, Answer) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let course = |courses: &mut VecDeque<Course>| courses.pop_front();
    let (on_put, on_assume) = state.otherwise.clone();
    let target = request.header("x-amz-target");
    let (course, answer) = match target.strip_prefix("Kinesis_20131202.") {
        Some("PutRecords") => {
            let course = course(&mut state.on_put).unwrap_or(on_put);
            let refusal = refusal(&course, kinesis_error);
            state.puts += 1;
            let answer = refusal.unwrap_or_else(|| put(request, &course, &mut state));
            (course, answer)
        }
        Some("ListShards") => {
            let course = course(&mut state.on_list).unwrap_or_default();
            let answer = refusal(&course, kinesis_error).unwrap_or_else(|| list(request, &state));
            (course, answer)
        }
        Some(_) => (Course::Ordinary, kinesis_error(400, "UnknownOperationException", target)),
        None => {
            let course = course(&mut state.on_assume).unwrap_or(on_assume);
            let fields = form_urlencoded::parse(&request.body).into_owned().collect();
            let told = sts(&fields, &mut state);
            (course.clone(), refusal(&course, sts_error).unwrap_or(told))
        }
    };
    (course, answer)
}

fn refusal(course: &Course, error: fn(u16, &str, &str) -> Answer) -> Option<Answer> {
    match course {
        Course::Refuse(status, code, message) => Some(error(*status, code, message)),
        Course::Garbage => {
            let body = "<html>this is a proxy</html>".to_owned();
            Some(Answer { status: 502, content_type: "text/html", body })
        }
        _ => None,
    }
}

fn sts(fields: &HashMap<String, String>, state: &mut State) -> Answer {
    let field = |name: &str| fields.get(name).cloned();
    if field("Action").as_deref() == Some("GetCallerIdentity") {
        return xml(
            "GetCallerIdentity",
            "<Arn>arn:aws:iam::999999999999:user/millrace</Arn><UserId>U</UserId><Account>999999999999</Account>",
        );
    }
    let asked = Assumption {
        role: field("RoleArn").unwrap_or_default(),
        external_id: field("ExternalId"),
        session: field("RoleSessionName").unwrap_or_default(),
    };
    state.assumptions.push(asked.clone());
    // As AWS does: who gives no external id where one is asked for is refused as who gives a wrong one.
    if asked.external_id.is_none() || state.roles.get(&asked.role) != asked.external_id.as_ref() {
        let message = format!(
            "User: arn:aws:iam::999999999999:user/millrace is not authorized to perform: sts:AssumeRole on resource: {}",
            asked.role
        );
        return sts_error(403, "AccessDenied", &message);
    }
    state.granted += 1;
    let key = format!("ASIASESSION{}", state.granted);
    state.sessions.insert(key.clone());
    xml(
        "AssumeRole",
        &format!(
            "<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret-of-{key}</SecretAccessKey>\
             <SessionToken>token-of-{key}</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>"
        ),
    )
}

fn xml(action: &str, result: &str) -> Answer {
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    );
    Answer { status: 200, content_type: "text/xml", body }
}

fn sts_error(status: u16, code: &str, message: &str) -> Answer {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    );
    Answer { status, content_type: "text/xml", body }
}

fn kinesis_error(status: u16, code: &str, message: &str) -> Answer {
    json_answer(status, &json!({ "__type": code, "message": message }))
}

fn json_answer(status: u16, body: &Value) -> Answer {
    Answer { status, content_type: "application/x-amz-json-1.1", body: body.to_string() }
}

/// Who signs must be a session that has not ended, and no one else, for the stream's region; the stream must be there.
fn check(request: &Request, body: &Value, state: &State) -> Result<String, Answer> {
    let signed_by = request.header("authorization").split_once("Credential=");
    let key = signed_by.and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    if !key.starts_with("ASIASESSION") {
        let message = "The security token included in the request is invalid.";
        return Err(kinesis_error(400, "UnrecognizedClientException", message));
    }
    let token = request.header("x-amz-security-token");
    if !state.sessions.contains(key) || token != format!("token-of-{key}") {
        let message = "The security token included in the request is expired";
        return Err(kinesis_error(400, "ExpiredTokenException", message));
    }
    let stream = body["StreamARN"].as_str().unwrap_or_default();
    let region = signed_by.and_then(|(_, rest)| rest.split('/').nth(2));
    if region != stream.split(':').nth(3) {
        let message = "Credential should be scoped to a valid region.";
        return Err(kinesis_error(400, "InvalidSignatureException", message));
    }
    match state.streams.contains(stream) {
        true => Ok(stream.to_owned()),
        false => {
            let message = format!("Stream {stream} not found");
            Err(kinesis_error(400, "ResourceNotFoundException", &message))
        }
    }
}

fn list(request: &Request, state: &State) -> Answer {
    let body = serde_json::from_slice(&request.body).unwrap_or_default();
    if let Err(refused) = check(request, &body, state) {
        return refused;
    }
    let shard = |number: usize| {
        json!({
            "ShardId": format!("shardId-{number:012}"),
            "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "1" },
            "SequenceNumberRange": { "StartingSequenceNumber": "1" },
        })
    };
    json_answer(200, &json!({ "Shards": [shard(0), shard(1)] }))
}

fn put(request: &Request, course: &Course, state: &mut State) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let stream = match check(request, &body, state) {
        Ok(stream) => stream,
        Err(refused) => return refused,
    };
    let records: Option<Vec<Record>> = body["Records"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|record| {
            let data = BASE64_STANDARD.decode(record["Data"].as_str()?).ok()?;
            let key = record["PartitionKey"].as_str()?.to_owned();
            let fits = (1..=256).contains(&key.chars().count())
                && data.len() + key.len() <= RECORD_MAX_BYTES;
            fits.then(|| Record { stream: stream.clone(), key, data })
        })
        .collect();
    let records = records.filter(|records| (1..=500).contains(&records.len()));
    let Some(records) = records else {
        return kinesis_error(400, "ValidationException", "a record or their number is wrong");
    };
    state.largest = state.largest.max(records.len());
    let failures = match course {
        Course::Partly(failures) => failures.as_slice(),
        _ => &[],
    };
    let (mut told, mut failed) = (Vec::new(), 0);
    for (at, record) in records.into_iter().enumerate() {
        let failing = state.failing.contains(&record.key).then_some(&"InternalFailure");
        let told_so = failures.iter().find(|(place, _)| *place == at).map(|(_, code)| code);
        if let Some(code) = told_so.or(failing) {
            failed += 1;
            told.push(json!({ "ErrorCode": code, "ErrorMessage": "as the test has it" }));
            continue;
        }
        state.records.push(record);
        let number = state.records.len();
        told.push(
            json!({ "ShardId": "shardId-000000000000", "SequenceNumber": number.to_string() }),
        );
    }
    json_answer(200, &json!({ "FailedRecordCount": failed, "Records": told }))
}
