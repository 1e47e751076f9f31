//! Where in the queue an event is: looked for in what stands in `ready`, in its sinks' backlogs and in quarantine, without changing
//! anything. What it costs is bounded, so a long backlog is looked through in part.

use std::time::Duration;

use bytes::Bytes;
use millrace_domain::{AccountSid, Partition, SinkSid, Timestamp};
use millrace_proto::internal::{Chunk, ChunkEvent};
use millrace_queue::{Class, EntryId, ParkedQuery, Place, Queue, Result, chunk};

/// Most chunks of one backlog that are looked through.
const PARKED_MAX: usize = 64;
/// Parked chunks that are read at once.
const PARKED_PAGE: usize = 8;
/// Most backlogs that are looked through.
const BACKLOGS_MAX: usize = 50;
/// Most chunks in quarantine that are looked through.
const QUARANTINED_MAX: usize = 100;
/// Most reads of what stands in `ready`.
const READS_MAX: usize = 8;
/// What has not come to `ready` yet is not waited for.
const WAIT: Duration = Duration::ZERO;

/// Which event is looked for, and where it would be.
pub(super) struct Sought<'a> {
    pub(super) event_id: &'a str,
    pub(super) account: AccountSid,
    pub(super) home: Partition,
    /// It is not older.
    pub(super) since: Timestamp,
}

/// What was found of it.
pub(super) struct Looked {
    pub(super) found: Vec<Found>,
    /// Whether every chunk was looked through in which it might be.
    pub(super) everywhere: bool,
}

/// The event, in a chunk, for a sink.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) sink: SinkSid,
    pub(super) whereabouts: Whereabouts,
    pub(super) accepted: Option<Timestamp>,
    pub(super) event_type: String,
    /// The event as it would be delivered.
    pub(super) event: Option<Bytes>,
}

/// Where a chunk is.
#[derive(Clone, Debug)]
pub(super) enum Whereabouts {
    /// In `ready`.
    Ready,
    /// In the sink's backlog.
    Backlog,
    /// Delayed, until then.
    Delayed(Timestamp),
    /// In quarantine: its name, and why.
    Quarantined(String, String),
}

/// Looks for an event.
///
/// # Errors
/// If the queue does not answer.
pub(super) async fn look(queue: &dyn Queue, sought: &Sought<'_>) -> Result<Looked> {
    let mut looked = Looked { found: Vec::new(), everywhere: true };
    ready(queue, sought, &mut looked).await?;
    parked(queue, sought, &mut looked).await?;
    quarantined(queue, sought, &mut looked).await?;
    // What is parked and still stands in `ready`, for a chunk is settled as a whole, is parked.
    let mut seen = std::collections::HashSet::new();
    looked.found.sort_by_key(|found| matches!(found.whereabouts, Whereabouts::Ready));
    looked.found.retain(|found| seen.insert(found.sink));
    Ok(looked)
}

async fn ready(queue: &dyn Queue, sought: &Sought<'_>, looked: &mut Looked) -> Result<()> {
    let ms = u64::try_from(sought.since.as_millis()).unwrap_or(0);
    let mut cursor = EntryId { ms, seq: 0 };
    for _ in 0..READS_MAX {
        let entries = queue.read(&[(sought.home, cursor)], WAIT).await?;
        let Some((_, last)) = entries.last() else { return Ok(()) };
        cursor = last.id;
        for (_, entry) in entries {
            let accepted = entry.id.accepted();
            in_chunk(entry.chunk, sought, &mut looked.found, |_| (Whereabouts::Ready, accepted));
        }
    }
    looked.everywhere = false;
    Ok(())
}

async fn parked(queue: &dyn Queue, sought: &Sought<'_>, looked: &mut Looked) -> Result<()> {
    let account = chunk::account_bytes(sought.account);
    let backlogs = queue.backlogs(sought.home).await?;
    let mut own: Vec<_> =
        backlogs.into_iter().filter(|(_, state)| state.account == account).collect();
    if own.len() > BACKLOGS_MAX {
        own.truncate(BACKLOGS_MAX);
        looked.everywhere = false;
    }
    for (sink, _) in own {
        for class in [Class::Backlog, Class::Delayed] {
            backlog(queue, sought, (sink, class), looked).await?;
        }
    }
    Ok(())
}

async fn backlog(
    queue: &dyn Queue,
    sought: &Sought<'_>,
    (sink, class): (SinkSid, Class),
    looked: &mut Looked,
) -> Result<()> {
    let mut skip = Vec::new();
    while skip.len() < PARKED_MAX {
        let until = Timestamp::from_millis(i64::MAX / 2);
        let query = ParkedQuery { until, limit: PARKED_PAGE, skip: &skip };
        let page = queue.parked(sought.home, sink, class, query).await?;
        let ends = page.len() < PARKED_PAGE;
        for parked in page {
            skip.push(parked.id);
            let whereabouts = match class {
                Class::Backlog => Whereabouts::Backlog,
                Class::Delayed => Whereabouts::Delayed(parked.at),
            };
            let place = |event: &ChunkEvent| {
                (whereabouts.clone(), Timestamp::from_millis(event.accepted_ms))
            };
            in_chunk(parked.chunk.unwrap_or_default(), sought, &mut looked.found, place);
        }
        if ends || looked.found.iter().any(|found| found.sink == sink) {
            return Ok(());
        }
    }
    looked.everywhere = false;
    Ok(())
}

async fn quarantined(queue: &dyn Queue, sought: &Sought<'_>, looked: &mut Looked) -> Result<()> {
    let mut chunks = queue.quarantined(sought.home).await?;
    if chunks.len() > QUARANTINED_MAX {
        chunks.truncate(QUARANTINED_MAX);
        looked.everywhere = false;
    }
    for quarantined in chunks {
        let bytes = queue.quarantined_chunk(sought.home, quarantined.place).await?;
        let name = format!("{}/{}", sought.home.0, quarantined.place);
        let accepted = match quarantined.place {
            Place::Ready(id) => id.accepted(),
            Place::Parked(..) => Timestamp::default(),
        };
        in_chunk(bytes.unwrap_or_default(), sought, &mut looked.found, |event| {
            let accepted = match event.accepted_ms {
                0 => accepted,
                ms => Timestamp::from_millis(ms),
            };
            (Whereabouts::Quarantined(name.clone(), quarantined.reason.clone()), accepted)
        });
    }
    Ok(())
}

/// Adds what a chunk has of the event; one that cannot be read has nothing.
fn in_chunk(
    bytes: Bytes,
    sought: &Sought<'_>,
    found: &mut Vec<Found>,
    place: impl Fn(&ChunkEvent) -> (Whereabouts, Timestamp),
) {
    let Ok(Chunk { events, .. }) = chunk::decode(bytes) else { return };
    let sought_for = |event: &&ChunkEvent| {
        event.id == sought.event_id && chunk::account_of(event) == Some(sought.account)
    };
    for event in events.iter().filter(sought_for) {
        let (whereabouts, accepted) = place(event);
        for variant in &event.variants {
            found.extend(chunk::sinks_of(variant).map(|sink| Found {
                sink,
                whereabouts: whereabouts.clone(),
                accepted: Some(accepted).filter(|time| *time > Timestamp::default()),
                event_type: event.r#type.clone(),
                event: Some(variant.event.clone()),
            }));
        }
    }
}
