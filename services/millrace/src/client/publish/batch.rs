//! Cuts a file into batches that a router takes.

use std::time::Duration;

use millrace_domain::{Refusal, event::EVENT_MAX_BYTES};
use millrace_proto::v1;
use tokio::{
    io::{AsyncRead, BufReader},
    time::timeout,
};

use super::{
    lines::{Line, Lines},
    parse,
    tally::Rejection,
};

/// Most bytes in a batch, by [`wire_bytes`]: 4 MB is what a router takes.
const BATCH_MAX_BYTES: usize = 4 * 1024 * 1024 - 1024;
/// Most lines that are no event before they are told.
const REJECTIONS_MAX: usize = 1_000;
/// How long events of a slow input wait for company.
const LINGER: Duration = Duration::from_millis(200);

/// Events to publish together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The events.
    pub(crate) events: Vec<v1::Event>,
    /// Where each stands in the input.
    pub(crate) lines: Vec<u64>,
}

/// A batch, and what was found on the way to it.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) batch: Batch,
    /// Lines that are no event.
    pub(super) rejections: Vec<Rejection>,
    /// The last line read for it.
    pub(super) last_line: u64,
    /// How much of the input it took.
    pub(super) bytes: u64,
}

impl Cut {
    fn is_empty(&self) -> bool {
        self.batch.events.is_empty() && self.rejections.is_empty()
    }
}

/// Reads an input batch by batch.
pub(super) struct Batches<R> {
    lines: Lines<BufReader<R>>,
    account: String,
    max_events: usize,
    /// An event that the batch before had no room for.
    left_over: Option<(u64, v1::Event)>,
}

impl<R: AsyncRead + Unpin> Batches<R> {
    /// Reads `input`, whose events are `account`'s unless they say otherwise.
    pub(super) fn new(input: R, account: String, max_events: usize) -> Self {
        let lines = Lines::new(BufReader::with_capacity(64 * 1024, input), EVENT_MAX_BYTES);
        Self { lines, account, max_events, left_over: None }
    }

    /// Cuts the next batch; `None` at the end.
    ///
    /// # Errors
    /// What reading fails with.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Cut>> {
        let (mut cut, mut size) = (Cut::default(), 0);
        if let Some((line, event)) = self.left_over.take() {
            size = wire_bytes(&event);
            cut.last_line = line;
            cut.batch.events.push(event);
            cut.batch.lines.push(line);
        }
        while cut.batch.events.len() < self.max_events && cut.rejections.len() < REJECTIONS_MAX {
            let line = if cut.is_empty() {
                self.lines.next().await?
            } else {
                // Nothing is lost when the wait ends: `Lines` keeps the part of a line it has.
                match timeout(LINGER, self.lines.next()).await {
                    Ok(line) => line?,
                    Err(_) => break,
                }
            };
            let Some(line) = line else { break };
            cut.bytes += line.taken;
            match self.read(&line) {
                None => cut.last_line = line.number,
                Some(Err(refusal)) => {
                    cut.last_line = line.number;
                    cut.rejections.push(Rejection::of(line.number, "", &refusal));
                }
                Some(Ok(event)) if size + wire_bytes(&event) > BATCH_MAX_BYTES => {
                    self.left_over = Some((line.number, event));
                    break;
                }
                Some(Ok(event)) => {
                    cut.last_line = line.number;
                    size += wire_bytes(&event);
                    cut.batch.events.push(event);
                    cut.batch.lines.push(line.number);
                }
            }
        }
        Ok((!cut.is_empty()).then_some(cut))
    }

    /// The event of a line, or why it is none; nothing for an empty line.
    fn read(&self, line: &Line) -> Option<Result<v1::Event, Refusal>> {
        let Some(text) = &line.text else {
            let message =
                format!("the line is longer than {EVENT_MAX_BYTES} bytes, the most of an event");
            return Some(Err(Refusal::too_large("", message)));
        };
        let blank = text.iter().all(u8::is_ascii_whitespace);
        (!blank).then(|| parse::event(text, &self.account))
    }
}

/// At most how many bytes an event takes in a protobuf message: its texts, and 8 bytes around each.
fn wire_bytes(event: &v1::Event) -> usize {
    let texts = [
        &event.account_sid,
        &event.id,
        &event.source,
        &event.r#type,
        &event.subject,
        &event.time,
        &event.dataschema,
        &event.data,
    ];
    let extensions = event.extensions.iter().map(|(name, value)| name.len() + value.len() + 24);
    8 + texts.iter().map(|text| text.len() + 8).sum::<usize>() + extensions.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: usize, size: usize) -> String {
        let data = "x".repeat(size);
        format!(
            r#"{{"specversion":"1.0","type":"com.example.a","source":"/a","id":"{id}","data":{{"t":"{data}"}}}}"#
        ) + "\n"
    }

    async fn cuts(input: &str, max_events: usize) -> Vec<Cut> {
        let mut batches = Batches::new(input.as_bytes(), String::new(), max_events);
        let mut cuts = Vec::new();
        while let Some(cut) = batches.next().await.expect("memory is readable") {
            cuts.push(cut);
        }
        let bytes: u64 = cuts.iter().map(|cut| cut.bytes).sum();
        assert_eq!(bytes, u64::try_from(input.len()).expect("short"));
        cuts
    }

    #[tokio::test]
    async fn cuts_by_number_and_keeps_the_lines() {
        let input = format!("{}\nnot json\n{}{}", line(1, 1), line(2, 1), line(3, 1));
        let cuts = cuts(&input, 2).await;
        let lines: Vec<_> = cuts.iter().map(|cut| cut.batch.lines.clone()).collect();
        assert_eq!(lines, [vec![1, 4], vec![5]]);
        assert_eq!(cuts[0].rejections.iter().map(|r| r.line).collect::<Vec<_>>(), [3]);
        assert_eq!((cuts[0].last_line, cuts[1].last_line), (4, 5));
    }

    #[tokio::test]
    async fn cuts_by_size_and_loses_nothing() {
        let input: String = (0..50).map(|id| line(id, 200_000)).collect();
        let cuts = cuts(&input, 1_000).await;
        assert_eq!(cuts.len(), 3);
        for cut in &cuts {
            let size: usize = cut.batch.events.iter().map(wire_bytes).sum();
            assert!(size <= BATCH_MAX_BYTES);
        }
        let ids: Vec<_> =
            cuts.iter().flat_map(|cut| &cut.batch.events).map(|event| event.id.clone()).collect();
        assert_eq!(ids, (0..50).map(|id| id.to_string()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_rejected_alone() {
        let cuts = cuts(&format!("{}{}", line(1, EVENT_MAX_BYTES), line(2, 1)), 10).await;
        assert_eq!((cuts[0].batch.lines.as_slice(), cuts[0].rejections[0].line), (&[2][..], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn events_of_a_slow_input_do_not_wait_for_a_full_batch() {
        let (mut writer, reader) = tokio::io::duplex(1024);
        let mut batches = Batches::new(reader, String::new(), 100);
        tokio::io::AsyncWriteExt::write_all(&mut writer, line(1, 1).as_bytes())
            .await
            .expect("room");
        let cut = batches.next().await.expect("readable").expect("a batch");
        assert_eq!(cut.batch.lines, [1]);
        drop(writer);
        assert!(batches.next().await.expect("readable").is_none());
    }
}
