//! `millrace.v1.SchemaService`.

use millrace_domain::schema::SchemaVersion;
use millrace_proto::{
    v1::{self, schema_service_server::SchemaService},
    wire_time,
};
use tonic::{Request, Response, Status};

use super::{Asked, Face, committed, scope};
use crate::catalog::{NewSchemaVersion, Registration};

#[tonic::async_trait]
impl SchemaService for Face {
    async fn get_schema(
        &self,
        request: Request<v1::GetSchemaRequest>,
    ) -> Result<Response<v1::GetSchemaResponse>, Status> {
        self.within(request, |_, request| async move {
            let latest = self.app.catalog.schema_version(&request.id, None).await?;
            let schema = v1::Schema {
                id: latest.schema_id,
                latest_version: latest.version,
                latest_version_create_time: Some(wire_time(latest.created)),
            };
            Ok(Response::new(v1::GetSchemaResponse { schema: Some(schema) }))
        })
        .await
    }

    async fn get_schema_version(
        &self,
        request: Request<v1::GetSchemaVersionRequest>,
    ) -> Result<Response<v1::GetSchemaVersionResponse>, Status> {
        self.within(request, |_, request| async move {
            let number = Some(request.version).filter(|version| *version > 0);
            let version = self.app.catalog.schema_version(&request.schema_id, number).await?;
            let schema_version = Some((&version).into());
            Ok(Response::new(v1::GetSchemaVersionResponse { schema_version }))
        })
        .await
    }

    async fn register_schema_version(
        &self,
        request: Request<v1::RegisterSchemaVersionRequest>,
    ) -> Result<Response<v1::RegisterSchemaVersionResponse>, Status> {
        self.within(request, |caller, request| async move {
            let new = NewSchemaVersion {
                schema_id: request.schema_id,
                version: Some(request.version).filter(|version| *version > 0),
                document: request.document,
            };
            let done = self.app.catalog.register_version(caller, new).await?;
            Ok(committed(done, |Registration { version, created }| {
                let schema_version = Some((&version).into());
                v1::RegisterSchemaVersionResponse { schema_version, created }
            }))
        })
        .await
    }

    async fn list_schema_versions(
        &self,
        request: Request<v1::ListSchemaVersionsRequest>,
    ) -> Result<Response<v1::ListSchemaVersionsResponse>, Status> {
        self.within(request, |_, request| async move {
            let rest = v1::ListSchemaVersionsRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.clone()
            };
            let scope = scope("schema_versions", None, &rest);
            let asked = Asked::<u32>::read(scope, request.page_size, &request.page_token)?;
            let catalog = &self.app.catalog;
            let list = catalog.schema_versions(&request.schema_id, asked.after, asked.size + 1);
            let mut listed = list.await?;
            let next_page_token = asked.next(&mut listed, |row: &SchemaVersion| row.version);
            let without_document = |version: &SchemaVersion| v1::SchemaVersion {
                document: String::new(),
                ..version.into()
            };
            let schema_versions = listed.iter().map(without_document).collect();
            Ok(Response::new(v1::ListSchemaVersionsResponse { schema_versions, next_page_token }))
        })
        .await
    }
}
