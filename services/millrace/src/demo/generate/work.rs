//! Stories of work: tasks that workers take and finish; and what the error log says meanwhile.

use millrace_domain::Timestamp;

use super::{ACCOUNT, Stage, Told, json::Object};

const WORK_SCHEMA: (&str, u32) = ("TaskRouter.WDSEvent", 4);
const ERROR_SCHEMA: (&str, u32) = ("ErrorLogs.Error", 2);
const WORKSPACE: &str = "WS5ca1ab1e000000000000000000000003";
const QUEUE: &str = "WQ5ca1ab1e000000000000000000000004";
const ERRORS: [(&str, &str, &str); 4] = [
    ("11200", "ERROR", "HTTP retrieval failure"),
    ("12100", "ERROR", "Document parse failure"),
    ("30007", "ERROR", "Message filtered"),
    ("93101", "WARNING", "Error delivering event to webhook: 500 Internal Server Error"),
];

struct Task {
    sid: String,
    reservation: String,
    worker: String,
    name: &'static str,
    created: Timestamp,
}

/// A task is created, offered, accepted (or first turned down) and completed.
pub(super) fn task(stage: &mut Stage, begins: Timestamp) {
    let task = Task {
        sid: stage.sid("WT"),
        reservation: stage.sid("WR"),
        worker: stage.sid("WK"),
        name: stage.pick(&["ada", "grace", "katherine", "radia"]),
        created: begins,
    };
    tell(stage, &task, begins, "task.created", "TaskCreated");
    let offered = stage.after(begins, 200, 4_000);
    tell(stage, &task, offered, "reservation.created", "ReservationCreated");
    let answered = stage.after(offered, 1_000, 15_000);
    if stage.numbers.below(5) == 0 {
        return tell(stage, &task, answered, "reservation.rejected", "ReservationRejected");
    }
    tell(stage, &task, answered, "reservation.accepted", "ReservationAccepted");
    let done = stage.after(answered, 60_000, 600_000);
    tell(stage, &task, done, "task.completed", "TaskCompleted");
}

fn tell(stage: &mut Stage, task: &Task, time: Timestamp, name: &str, title: &str) {
    let sid = stage.sid("EV");
    let stamp = time.to_rfc3339_millis();
    let age = u32::try_from(time.since(task.created).as_secs()).unwrap_or(u32::MAX);
    let mut payload = Object::new()
        .text("eventtype", name)
        .text("sid", &sid)
        .text("account_sid", ACCOUNT)
        .text("resource_type", if name.starts_with("task") { "task" } else { "reservation" })
        .text("timestamp", &stamp)
        .text("workspace_sid", WORKSPACE)
        .text("workspace_name", "Support")
        .text("task_sid", &task.sid)
        .text("task_attributes", r#"{"language":"en","topic":"billing"}"#)
        .number("task_age", age)
        .number("task_priority", 1)
        .text("task_channel_unique_name", "voice")
        .text("task_queue_sid", QUEUE)
        .text("task_queue_name", "Billing")
        .number("task_version", 1);
    if name.starts_with("reservation") {
        payload = payload
            .text("reservation_sid", &task.reservation)
            .text("worker_sid", &task.worker)
            .text("worker_name", task.name);
    }
    let data = Object::new()
        .text("sid", &sid)
        .text("name", title)
        .text("account_sid", ACCOUNT)
        .text("account_friendly_name", "Example")
        .text("timestamp", &stamp)
        .text("level", "INFO")
        .text("group", if name.starts_with("task") { "Task" } else { "Reservation" })
        .text("product_name", "TaskRouter")
        .text("payload_type", "application/json")
        .object("payload", payload);
    let event_type = format!("com.twilio.taskrouter.{name}");
    let id = stage.event_id(time);
    let source = format!("/v1/Workspaces/{WORKSPACE}/Tasks/{}", task.sid);
    stage.tell(Told { time, event_type: &event_type, source, id, schema: WORK_SCHEMA, data });
}

/// The error log gets a line.
pub(super) fn error_log(stage: &mut Stage, begins: Timestamp) {
    let at = usize::try_from(stage.numbers.below(4)).unwrap_or_default();
    let (code, level, message) = ERRORS[at];
    let id = stage.sid("NO");
    let payload = format!(r#"{{"error_code":{code},"message":"{message}"}}"#);
    let data = Object::new()
        .text("sid", &id)
        .text("account_sid", ACCOUNT)
        .text("date_created", &begins.to_rfc3339_millis())
        .text("level", level)
        .text("request_sid", &stage.sid("RQ"))
        .text(
            "product_name",
            if code == "93101" { "Event Streams" } else { "Programmable Messaging" },
        )
        .text("error_code", code)
        .text("payload", &payload);
    let event_type = "com.twilio.error-logs.error.logged";
    let source = format!("/v1/Alerts/{id}");
    stage.tell(Told { time: begins, event_type, source, id, schema: ERROR_SCHEMA, data });
}
