//! The events of a run: 1 kB of JSON text as a real system sends it, and an id that says when it was published.

use std::{fmt, str::FromStr};

use millrace_proto::v1::Event;
use serde_json::json;

/// Size of an event as it is delivered.
pub(crate) const EVENT_BYTES: usize = 1_024;
/// The type of the events; without a schema, so that what is measured is the way of an event alone.
pub(crate) const EVENT_TYPE: &str = "com.example.orders.order.shipped";
/// The schema the type names.
pub(crate) const SCHEMA_ID: &str = "Orders.OrderShipped";

const SOURCE: &str = "https://shop.example.com/orders";
/// What every id begins with.
const ID_PREFIX: &str = "bench-";
/// Different data, so that neither caches nor compression have it too easy.
const VARIETY: usize = 997;
const CITIES: [&str; 8] =
    ["Antwerp", "Bogotá", "Cork", "Da Nang", "Esbjerg", "Fukuoka", "Göteborg", "Haifa"];
const GOODS: [&str; 8] = [
    "espresso cups, set of four",
    "bicycle bell, brass",
    "walnut cutting board",
    "wool blanket, grey",
    "notebook, dotted, A5",
    "desk lamp with clamp",
    "rain jacket, size M",
    "garden shears, left-handed",
];
const WORDS: [&str; 16] = [
    "please",
    "leave",
    "the",
    "parcel",
    "with",
    "our",
    "neighbour",
    "if",
    "nobody",
    "answers",
    "door",
    "between",
    "nine",
    "and",
    "noon",
    "thanks",
];

/// Which event it is: of which run, its number there, and when it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) run: u64,
    pub(crate) number: usize,
    pub(crate) sent_us: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ID_PREFIX}{:04}-{:08}-{:016}", self.run, self.number, self.sent_us)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.strip_prefix(ID_PREFIX).ok_or(())?.split('-');
        let mut part = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or(());
        let (run, number, sent_us) = (part()?, part()?, part()?);
        Ok(Self { run, number: usize::try_from(number).map_err(drop)?, sent_us })
    }
}

/// Makes events; what takes time is done once.
pub(crate) struct Events {
    accounts: Vec<String>,
    /// Events of an account before the next account has its turn.
    in_a_row: usize,
    run: u64,
    data: Vec<String>,
    incompressible: bool,
}

impl Events {
    /// Events of accounts, in turn, in a run.
    pub(crate) fn new(accounts: Vec<String>, run: u64) -> Self {
        let data = (0..VARIETY).map(data).collect();
        Self { accounts, in_a_row: 1, run, data, incompressible: false }
    }

    /// Each account has so many events before the next has its turn, not one.
    pub(crate) fn in_a_row(self, in_a_row: usize) -> Self {
        Self { in_a_row, ..self }
    }

    /// Events of as many random letters, where it is so.
    pub(crate) fn incompressible(self, incompressible: bool) -> Self {
        Self { incompressible, ..self }
    }

    fn data(&self, number: usize) -> String {
        let data = &self.data[number % VARIETY];
        match self.incompressible {
            true => {
                json!({ "noise": noise(number, data.len() - r#"{"noise":""}"#.len()) }).to_string()
            }
            false => data.clone(),
        }
    }

    /// The event of a number, published at `sent_us`.
    pub(crate) fn event(&self, number: usize, sent_us: u64) -> Event {
        Event {
            account_sid: self.accounts[number / self.in_a_row % self.accounts.len()].clone(),
            id: EventId { run: self.run, number, sent_us }.to_string(),
            source: SOURCE.to_owned(),
            r#type: EVENT_TYPE.to_owned(),
            data: self.data(number),
            ..Event::default()
        }
    }
}

/// Random letters of Base64, which no compression makes smaller than three quarters.
fn noise(seed: usize, length: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed as u64 + 1;
    let mut letter = || {
        // A linear congruential generator (Knuth, MMIX); its high bits are the good ones.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[usize::try_from(state >> 58).unwrap_or_default()])
    };
    (0..length).map(|_| letter()).collect()
}

/// What stands before the id of an event as it is delivered.
pub(crate) const ID: &str = r#""id":""#;

/// Finds the ids of events in the body of a request: those that follow `key`.
pub(crate) fn ids<'a>(body: &'a str, key: &'a str) -> impl Iterator<Item = EventId> + 'a {
    body.match_indices(key).filter_map(move |(at, _)| {
        let id = body.get(at + key.len()..)?.split('"').next()?;
        id.parse().ok()
    })
}

/// Data such that the event has [`EVENT_BYTES`] as delivered.
fn data(seed: usize) -> String {
    let bare = order(seed, "").to_string().len() + envelope_bytes();
    let mut note = String::new();
    let mut word = seed;
    while bare + note.len() < EVENT_BYTES {
        note.push_str(WORDS[word * 7 % WORDS.len()]);
        note.push(if word.is_multiple_of(9) { '.' } else { ' ' });
        word += 1 + word % 3;
    }
    note.truncate(EVENT_BYTES.saturating_sub(bare));
    order(seed, &note).to_string()
}

fn order(seed: usize, note: &str) -> serde_json::Value {
    let of = |list: &[&'static str; 8], step: usize| list[seed * step % 8];
    let item = |step: usize| {
        json!({
            "sku": format!("SKU-{:05}", seed * 31 * step % 100_000),
            "name": of(&GOODS, step),
            "quantity": seed * step % 4 + 1,
            "price": { "amount": format!("{}.{:02}", seed * step % 180 + 4, seed % 100), "currency": "EUR" },
        })
    };
    json!({
        "order_id": format!("ORD-2026-{:08}", seed * 7_919),
        "customer": {
            "id": format!("CUS{:09}", seed * 104_729),
            "email": format!("customer{seed}@example.com"),
            "phone": format!("+4670{:07}", seed * 1_299_709 % 10_000_000),
        },
        "carrier": "PostNord",
        "tracking_number": format!("JJSE{:014}", seed * 15_485_863),
        "destination": { "city": of(&CITIES, 3), "postal_code": format!("{:05}", seed * 97 % 100_000), "residential": seed.is_multiple_of(2) },
        "items": [item(1), item(3)],
        "estimated_delivery": format!("2026-12-{:02}", seed % 28 + 1),
        "note": note,
    })
}

/// A JSON Schema that says of the data what can be said.
pub(crate) fn schema() -> serde_json::Value {
    let text = json!({ "type": "string" });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["order_id", "customer", "items"],
        "properties": {
            "order_id": { "type": "string", "pattern": "^ORD-[0-9]{4}-[0-9]+$" },
            "customer": {
                "type": "object",
                "required": ["id"],
                "properties": { "id": text, "email": text, "phone": text },
            },
            "carrier": { "type": "string", "enum": ["DHL", "PostNord", "UPS"] },
            "tracking_number": { "type": "string", "maxLength": 40 },
            "destination": {
                "type": "object",
                "properties": { "city": text, "postal_code": text, "residential": { "type": "boolean" } },
            },
            "items": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["sku", "quantity"],
                    "properties": {
                        "sku": text,
                        "name": text,
                        "quantity": { "type": "integer", "minimum": 1 },
                        "price": { "type": "object", "properties": { "amount": text, "currency": text } },
                    },
                },
            },
            "estimated_delivery": text,
            "note": text,
        },
    })
}

/// Bytes that a delivered event has besides its data.
fn envelope_bytes() -> usize {
    let id = EventId { run: 0, number: 0, sent_us: 0 }.to_string();
    let envelope = json!({
        "specversion": "1.0",
        "id": id,
        "source": SOURCE,
        "type": EVENT_TYPE,
        "time": "2026-01-01T00:00:00.000Z",
        "datacontenttype": "application/json",
        "dataschema": format!("https://events-schemas.twilio.com/{SCHEMA_ID}/1"),
        "data": 0,
    });
    envelope.to_string().len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_what_it_was_made_of_and_is_found_in_a_body() {
        let id = EventId { run: 3, number: 41_234, sent_us: 987_654_321 };
        assert_eq!(id.to_string().parse(), Ok(id));
        let body = format!(
            r#"[{{"id":"{id}","data":{{"id":"no"}}}},{{"specversion":"1.0","id":"{id}"}}]"#
        );
        assert_eq!(ids(&body, ID).collect::<Vec<_>>(), [id, id]);
    }

    #[test]
    fn every_event_is_delivered_as_one_kilobyte() {
        for seed in 0..VARIETY {
            assert_eq!(data(seed).len() + envelope_bytes(), EVENT_BYTES, "{seed}");
        }
    }
}
