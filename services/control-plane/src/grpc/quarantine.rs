//! `millrace.v1.QuarantineService`.

use bytes::Bytes;
use millrace_proto::{
    internal::ChunkEvent,
    v1::{self, quarantine_service_server::QuarantineService},
};
use millrace_queue::chunk;
use tonic::{Request, Response, Status};

use super::{Asked, Face, scope};
use crate::{
    quarantine::{Listed, Name},
    status::{Failure, code},
};

#[tonic::async_trait]
impl QuarantineService for Face {
    async fn list_quarantined_chunks(
        &self,
        request: Request<v1::ListQuarantinedChunksRequest>,
    ) -> Result<Response<v1::ListQuarantinedChunksResponse>, Status> {
        self.within(request, |caller, request| async move {
            let asked = Asked::<Name>::read(
                scope("quarantined", None, &()),
                request.page_size,
                &request.page_token,
            )?;
            let limit = usize::try_from(asked.size).unwrap_or(usize::MAX).saturating_add(1);
            let mut found = self.app.quarantine.list(caller, asked.after, limit).await?;
            let next_page_token = asked.next(&mut found, |listed| listed.name);
            let chunks = found.into_iter().map(wire).collect();
            Ok(Response::new(v1::ListQuarantinedChunksResponse { chunks, next_page_token }))
        })
        .await
    }

    async fn get_quarantined_chunk(
        &self,
        request: Request<v1::GetQuarantinedChunkRequest>,
    ) -> Result<Response<v1::GetQuarantinedChunkResponse>, Status> {
        self.within(request, |caller, request| async move {
            let (listed, bytes) =
                self.app.quarantine.fetch(caller, name("name", &request.name)?).await?;
            let chunk = with_events(wire(listed), bytes);
            Ok(Response::new(v1::GetQuarantinedChunkResponse { chunk: Some(chunk) }))
        })
        .await
    }

    async fn redrive_quarantined_chunks(
        &self,
        request: Request<v1::RedriveQuarantinedChunksRequest>,
    ) -> Result<Response<v1::RedriveQuarantinedChunksResponse>, Status> {
        self.within(request, |caller, request| async move {
            let redriven = self.app.quarantine.redrive(caller, &names(&request.names)?).await?;
            Ok(Response::new(v1::RedriveQuarantinedChunksResponse { redriven }))
        })
        .await
    }

    async fn discard_quarantined_chunks(
        &self,
        request: Request<v1::DiscardQuarantinedChunksRequest>,
    ) -> Result<Response<v1::DiscardQuarantinedChunksResponse>, Status> {
        self.within(request, |caller, request| async move {
            let discarded = self.app.quarantine.discard(caller, &names(&request.names)?).await?;
            Ok(Response::new(v1::DiscardQuarantinedChunksResponse { discarded }))
        })
        .await
    }
}

fn name(field: &str, text: &str) -> Result<Name, Failure> {
    let message = "is no name of a chunk in quarantine, such as `7/1700000000000-0`";
    text.parse().map_err(|_| Failure::invalid(code::BAD_REQUEST, field, message))
}

fn names(texts: &[String]) -> Result<Vec<Name>, Failure> {
    texts.iter().enumerate().map(|(at, text)| name(&format!("names[{at}]"), text)).collect()
}

fn wire(listed: Listed) -> v1::QuarantinedChunk {
    v1::QuarantinedChunk {
        name: listed.name.to_string(),
        reason: listed.chunk.reason,
        size_bytes: listed.chunk.bytes,
        ..v1::QuarantinedChunk::default()
    }
}

/// Adds the events, if the chunk can be read.
fn with_events(mut wire: v1::QuarantinedChunk, bytes: Bytes) -> v1::QuarantinedChunk {
    if let Ok(chunk) = chunk::decode(bytes) {
        wire.readable = true;
        wire.events = chunk.events.into_iter().map(event).collect();
    }
    wire
}

fn event(event: ChunkEvent) -> v1::QuarantinedEvent {
    let account_sid = chunk::account_of(&event).map(|sid| sid.to_string()).unwrap_or_default();
    let sinks = event.variants.iter().flat_map(chunk::sinks_of);
    v1::QuarantinedEvent {
        account_sid,
        sink_sids: sinks.map(|sid| sid.to_string()).collect(),
        event: event.variants.first().map(|variant| variant.event.clone()).unwrap_or_default(),
        id: event.id,
        r#type: event.r#type,
    }
}
