//! Makes the recorded events of the demo: invented stories in the published formats of Twilio's event types.
//! The same bytes every time: the file beside the code, `demo/events.jsonl`, is this output and a test says so.

mod calls;
mod json;
mod messages;
mod numbers;
mod verifications;
mod work;

use millrace_domain::Timestamp;

use self::{json::Object, numbers::Numbers};

/// How many stories are told; about 1,100 events.
const STORIES: u32 = 612;
/// 2026-01-12T09:00:00Z, when the first story begins.
const BEGINNING: Timestamp = Timestamp::from_millis(1_768_208_400_000);
/// Whose events they are.
const ACCOUNT: &str = "AC5ca1ab1e000000000000000000000001";

/// Writes the events as JSON Lines, in order of time.
pub(crate) fn events() -> String {
    let mut stage = Stage { numbers: Numbers::seeded(0x4d69_6c6c_7261_6365), events: Vec::new() };
    let mut begins = BEGINNING;
    for _ in 0..STORIES {
        let chance = stage.numbers.below(100);
        match chance {
            0..=37 => messages::outbound(&mut stage, begins),
            38..=67 => messages::inbound(&mut stage, begins),
            68..=70 => calls::call(&mut stage, begins),
            71..=76 => verifications::verification(&mut stage, begins),
            77..=79 => work::task(&mut stage, begins),
            _ => work::error_log(&mut stage, begins),
        }
        begins = later(begins, 1_500 + u64::from(stage.numbers.below(6_000)));
    }
    // Stable, so that events of one instant stay in the order of their story.
    stage.events.sort_by_key(|(time, _)| *time);
    stage.events.into_iter().map(|(_, line)| line + "\n").collect()
}

/// Where stories leave their events.
struct Stage {
    numbers: Numbers,
    events: Vec<(Timestamp, String)>,
}

/// An event of a story.
struct Told<'a> {
    time: Timestamp,
    event_type: &'a str,
    source: String,
    id: String,
    /// Schema id and version.
    schema: (&'a str, u32),
    data: Object,
}

impl Stage {
    fn tell(&mut self, told: Told<'_>) {
        let (schema, version) = told.schema;
        let line = Object::new()
            .text("specversion", "1.0")
            .text("type", told.event_type)
            .text("source", &told.source)
            .text("id", &told.id)
            .text("dataschema", &format!("https://events-schemas.twilio.com/{schema}/{version}"))
            .text("datacontenttype", "application/json")
            .text("time", &told.time.to_rfc3339_millis())
            .object("data", told.data)
            .finish();
        self.events.push((told.time, line));
    }

    /// `EZ` and the hex of a UUIDv7 of this time.
    fn event_id(&mut self, time: Timestamp) -> String {
        let time = u128::from(time.as_millis().unsigned_abs()) << 80;
        let random = self.numbers.next_u128() & 0x0fff_3fff_ffff_ffff_ffff;
        format!("EZ{:032x}", time | 0x7000_8000_0000_0000_0000 | random)
    }

    fn sid(&mut self, prefix: &str) -> String {
        format!("{prefix}{:032x}", self.numbers.next_u128())
    }

    /// A number out of a range that is nobody's.
    fn phone(&mut self) -> String {
        format!("+1500555{:04}", self.numbers.below(10_000))
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let at = usize::try_from(self.numbers.below(u32::try_from(choices.len()).unwrap_or(1)));
        choices[at.unwrap_or_default()]
    }

    /// A while between two bounds, in milliseconds.
    fn after(&mut self, time: Timestamp, least: u32, most: u32) -> Timestamp {
        later(time, u64::from(least + self.numbers.below(most - least)))
    }
}

fn later(time: Timestamp, millis: u64) -> Timestamp {
    time.plus(std::time::Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use millrace_domain::event::CloudEvent;

    use super::*;

    #[test]
    fn the_recorded_file_is_what_the_generator_writes() {
        assert!(
            events() == crate::demo::EVENTS,
            "`cargo run -p millrace -- demo --generate > services/millrace/demo/events.jsonl` renews it"
        );
    }

    #[test]
    fn every_event_is_valid_unique_and_in_order() {
        let text = events();
        assert!(text.len() < 1_000_000, "{} bytes", text.len());
        let (mut ids, mut types, mut last) = (HashSet::new(), HashMap::new(), String::new());
        for line in text.lines() {
            let event = CloudEvent::parse(line.as_bytes()).expect(line);
            assert!(ids.insert(event.id.to_string()), "`{}` twice", event.id);
            *types.entry(event.event_type.to_string()).or_insert(0) += 1;
            let time = event.time.expect("a time").to_string();
            assert!(last <= time, "{line}");
            last = time;
        }
        assert!((1_000..1_500).contains(&ids.len()), "{} events", ids.len());
        assert!(types.len() >= 20, "{types:?}");
    }

    #[test]
    fn ids_of_events_are_of_version_7() {
        let mut stage = Stage { numbers: Numbers::seeded(1), events: Vec::new() };
        let id = stage.event_id(BEGINNING);
        let uuid =
            id.strip_prefix("EZ").and_then(|hex| uuid::Uuid::try_parse(hex).ok()).expect("hex");
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        let (seconds, nanos) = uuid.get_timestamp().expect("version 7").to_unix();
        assert_eq!((seconds, nanos), (1_768_208_400, 0));
    }
}
