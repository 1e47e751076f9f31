//! `millrace.internal.v1.DeliveryService`: what this deliverer does at the moment.

use std::sync::Arc;

use millrace_domain::secret::SecretHash;
use millrace_proto::internal::{
    ListPartitionsRequest, ListPartitionsResponse, delivery_service_server::DeliveryService,
};
use tonic::{Request, Response, Status};

use crate::{context::Context, ownership::Tenures};

/// Answers for one deliverer, to who knows the internal token.
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) cx: Arc<Context>,
    pub(crate) tenures: Arc<Tenures>,
    pub(crate) token: SecretHash,
}

#[tonic::async_trait]
impl DeliveryService for Delivery {
    async fn list_partitions(
        &self,
        request: Request<ListPartitionsRequest>,
    ) -> Result<Response<ListPartitionsResponse>, Status> {
        self.authorize(&request)?;
        let (chunks, bytes) = self.cx.unsettled.open();
        Ok(Response::new(ListPartitionsResponse {
            deliverer_id: self.id.clone(),
            partitions: self
                .tenures
                .partitions()
                .iter()
                .map(|partition| u32::from(partition.0))
                .collect(),
            unsettled_chunks: chunks as u64,
            unsettled_bytes: bytes as u64,
        }))
    }
}

impl Delivery {
    fn authorize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        match given.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(token) if SecretHash::of(token).matches(&self.token) => Ok(()),
            _ => Err(Status::unauthenticated(
                "give the internal token as `authorization: Bearer <token>`",
            )),
        }
    }
}
