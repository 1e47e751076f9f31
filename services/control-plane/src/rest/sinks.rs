//! `/v1/Sinks`.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use millrace_domain::{Sink, SinkConfiguration, SinkSid, SinkStatus, SinkUpdate};
use millrace_store::SinkFilter;
use serde_json::{Value, json};

use super::{
    NO_CONTENT,
    answer::{Answer, committed, date, json as answer},
    delivery,
    form::Fields,
    listing::{Paged, Place},
    mask,
    request::{ACCOUNT_HEADER, At, Base, Form, Query},
};
use crate::{
    App,
    auth::Caller,
    sinks::NewSink,
    status::{Failure, Kind, code},
};

pub(super) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    Form(form): Form,
) -> Answer {
    let account = caller.account(ACCOUNT_HEADER, None)?;
    let description = form.required("Description", code::SINK_INVALID)?;
    let sink_type = form.required("SinkType", code::SINK_INVALID)?;
    let configuration = form.required("SinkConfiguration", code::SINK_INVALID)?;
    let configuration = SinkConfiguration::parse(sink_type, configuration)
        .map_err(|refusal| Failure::refused(code::SINK_INVALID, refusal))?;
    let delivery = delivery::settings(&form)?;
    let headers = delivery::headers(&form)?.unwrap_or_default();
    let new = NewSink { description: description.to_owned(), configuration, headers, delivery };
    let done = app.sinks.create(account, new).await?;
    Ok(committed(done.version, answer(StatusCode::CREATED, render(&app, &base, &done.value))))
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    Query(query): Query,
) -> Answer {
    let account = caller.account(ACCOUNT_HEADER, None)?;
    let filter = filter(&query)?;
    let paged = Paged::<SinkSid>::read(&query, &["InUse", "Status"])?;
    let place = Place { key: "sinks", path: "/v1/Sinks", account: Some(account), base: &base };
    let list = |after, limit| app.sinks.list(account, &filter, after, limit);
    paged.answer(place, list, |sink: &Sink| sink.sid, |sink| render(&app, &base, sink)).await
}

pub(super) async fn fetch(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
) -> Answer {
    let sink = app.sinks.fetch(caller, parse_sid(&sid)?).await?;
    Ok(answer(StatusCode::OK, render(&app, &base, &sink)))
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    base: Base,
    At(sid): At<String>,
    Form(form): Form,
) -> Answer {
    let sid = parse_sid(&sid)?;
    let mut update = delivery::update(&form)?;
    update.headers = delivery::headers(&form)?;
    update.description = form.one("Description")?.map(str::to_owned);
    if let Some(configuration) = form.one("SinkConfiguration")? {
        let sink = app.sinks.fetch(caller, sid).await?;
        update.configuration = Some(reconfigured(&sink, &form, configuration)?);
        if app.site.mask_secrets {
            mask::refuse(update.configuration.as_ref())?;
        }
    }
    if update == SinkUpdate::default() {
        form.required("Description", code::SINK_INVALID)?;
    }
    let done = app.sinks.update(caller, sid, &update).await?;
    Ok(committed(done.version, answer(StatusCode::OK, render(&app, &base, &done.value))))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(sid): At<String>,
) -> Answer {
    let done = app.sinks.delete(caller, parse_sid(&sid)?).await?;
    Ok(committed(done.version, NO_CONTENT))
}

/// Sends a test event. As with Event Streams, the answer does not say whether the sink took it: gRPC and the CLI do.
pub(super) async fn test(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(sid): At<String>,
) -> Answer {
    app.sinks.test(caller, parse_sid(&sid)?).await?;
    Ok(answer(StatusCode::CREATED, json!({ "result": "submitted" })))
}

/// Always valid, as Event Streams answers since sinks are active at once
/// (<https://www.twilio.com/docs/events/event-streams/sink-resource/validate>).
pub(super) async fn validate(
    State(app): State<Arc<App>>,
    caller: Caller,
    At(sid): At<String>,
    Form(form): Form,
) -> Answer {
    app.sinks.fetch(caller, parse_sid(&sid)?).await?;
    form.required("TestId", code::BAD_REQUEST)?;
    Ok(answer(StatusCode::CREATED, json!({ "result": "valid" })))
}

/// Reads the SID of a sink, a parameter or a segment of the path.
pub(super) fn parse_sid(sid: &str) -> Result<SinkSid, Failure> {
    sid.parse().map_err(|_| {
        let message = format!("`{sid}` is no SID of a sink: `DG` followed by 32 hex digits");
        Failure::new(Kind::Invalid, code::SINK_SID, message)
    })
}

/// Reads a new configuration by the type that the sink has; naming another is refused.
fn reconfigured(sink: &Sink, form: &Fields, json: &str) -> Result<SinkConfiguration, Failure> {
    let is = sink.configuration.sink_type().as_str();
    if form.one("SinkType")?.is_some_and(|wanted| wanted != is) {
        let message = format!("cannot be changed: the sink is a {is} sink");
        return Err(Failure::invalid(code::SINK_INVALID, "SinkType", message));
    }
    SinkConfiguration::parse(is, json)
        .map_err(|refusal| Failure::refused(code::SINK_INVALID, refusal))
}

fn filter(query: &Fields) -> Result<SinkFilter, Failure> {
    let wrong =
        |field: &str, message: &str| Err(Failure::invalid(code::BAD_REQUEST, field, message));
    let in_use = match query.one("InUse")? {
        None | Some("") => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return wrong("InUse", "must be `true` or `false`"),
    };
    let status = match query.one("Status")? {
        None | Some("") => None,
        Some("initialized") => Some(SinkStatus::Initialized),
        Some("validating") => Some(SinkStatus::Validating),
        Some("active") => Some(SinkStatus::Active),
        Some("failed") => Some(SinkStatus::Failed),
        Some(_) => {
            return wrong("Status", "must be `initialized`, `validating`, `active` or `failed`");
        }
    };
    Ok(SinkFilter { in_use, status })
}

fn render(app: &App, base: &Base, sink: &Sink) -> Value {
    let configuration = sink.configuration.to_json();
    let configuration =
        if app.site.mask_secrets { mask::masked(configuration) } else { configuration };
    let url = format!("{}/v1/Sinks/{}", base.0, sink.sid);
    let mut shown = json!({
        "sid": sink.sid,
        "description": sink.description,
        "sink_configuration": configuration,
        "sink_type": sink.configuration.sink_type().as_str(),
        "status": sink.status.as_str(),
        "date_created": date(sink.created),
        "date_updated": date(sink.updated),
        "links": {
            "sink_test": format!("{url}/Test"),
            "sink_validate": format!("{url}/Validate"),
        },
        "url": url,
    });
    delivery::show(&sink.delivery, &mut shown);
    delivery::show_headers(&sink.headers, &mut shown);
    shown
}
