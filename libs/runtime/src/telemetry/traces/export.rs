//! The way of finished spans to a collector: through a bounded queue, in batches, by one task.
//!
//! Who ends a span never waits: what the queue has no room for is dropped, and so is what the collector does not take after
//! a few tries. Both are counted in `millrace_trace_spans_total`.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{metadata::MetadataMap, transport::Channel};

use crate::telemetry::OtlpSettings;

/// Most spans of an export (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`'s default).
const BATCH_SPANS: usize = 512;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Longest wait for what is still to be exported when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where finished spans wait.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            count("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task that exports.
#[derive(Debug)]
pub struct Export {
    closing: CancellationToken,
    task: JoinHandle<()>,
}

impl Export {
    /// Exports what waits, and no more; gives up after a few seconds.
    pub(in crate::telemetry) async fn flush(self) {
        self.closing.cancel();
        if timeout(FLUSH_TIMEOUT, self.task).await.is_err() {
            tracing::warn!("the last traces could not be exported");
        }
    }
}

/// Starts to export.
#[expect(clippy::disallowed_methods, reason = "traces outlive the tasks of the process")]
pub(super) fn start(
    otlp: &OtlpSettings,
    channel: Channel,
    resource: &Resource,
) -> anyhow::Result<(Queue, Export)> {
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_channel(channel)
        .with_metadata(MetadataMap::from_headers(otlp.header_map()?))
        .with_timeout(otlp.timeout)
        .build()?;
    opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, resource);
    let (queue, spans) = mpsc::channel(otlp.queue_spans);
    let closing = CancellationToken::new();
    let exporting = Exporting { exporter, spans, closing: closing.clone(), fails: false };
    Ok((Queue(queue), Export { closing, task: tokio::spawn(exporting.run()) }))
}

struct Exporting {
    exporter: SpanExporter,
    spans: mpsc::Receiver<SpanData>,
    closing: CancellationToken,
    /// Whether the last export failed: an outage is logged once.
    fails: bool,
}

impl Exporting {
    async fn run(mut self) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                return;
            }
            self.export(batch).await;
        }
    }

    /// Waits for spans, and gathers what comes within a moment; empty: there will be no more.
    async fn gather(&mut self) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let closing = self.closing.clone();
        let first = self.spans.recv_many(&mut batch, BATCH_SPANS);
        // What is received is in the batch, whole, or still in the queue.
        if closing.run_until_cancelled(first).await.is_none() {
            return self.rest(batch);
        }
        let until = Instant::now() + GATHER;
        while batch.len() < BATCH_SPANS {
            let room = BATCH_SPANS - batch.len();
            let more = timeout_at(until, self.spans.recv_many(&mut batch, room));
            match closing.run_until_cancelled(more).await {
                None => return self.rest(batch),
                Some(Err(_) | Ok(0)) => break,
                Some(Ok(_)) => {}
            }
        }
        batch
    }

    fn rest(&mut self, mut batch: Vec<SpanData>) -> Vec<SpanData> {
        self.spans.close();
        while batch.len() < BATCH_SPANS
            && let Ok(span) = self.spans.try_recv()
        {
            batch.push(span);
        }
        batch
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        match self.exporter.export(batch).await {
            Ok(()) => {
                count("exported", spans);
                if std::mem::take(&mut self.fails) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Err(error) => {
                count("failed", spans);
                if !std::mem::replace(&mut self.fails, true) {
                    tracing::warn!(%error, "the collector does not take traces: they are dropped");
                }
            }
        }
    }
}

fn count(result: &'static str, spans: usize) {
    metrics::counter!("millrace_trace_spans_total", "result" => result).increment(spans as u64);
}
