//! What a server has of a schema.

use std::collections::BTreeMap;

use anyhow::Context;
use millrace_proto::v1::{
    GetSchemaVersionRequest, ListSchemaVersionsRequest, schema_service_client::SchemaServiceClient,
};
use serde_json::Value;
use tonic::{Code, Status};

use crate::client::{connection::Connection, failure::explain, list, list::LimitArgs};

pub(super) type Client = SchemaServiceClient<Connection>;

/// The documents of a schema by version; an empty one is not known. None: the server does not have the schema.
pub(super) async fn versions(
    client: &Client,
    schema_id: &str,
) -> anyhow::Result<BTreeMap<u32, String>> {
    let limit = LimitArgs { limit: None };
    let doing = format!("list the versions of `{schema_id}`");
    let listed = list::all(&limit, &doing, async |page_size, page_token| {
        let schema_id = schema_id.to_owned();
        let request = ListSchemaVersionsRequest { schema_id, page_size, page_token };
        match client.clone().list_schema_versions(request).await {
            Ok(page) => {
                let page = page.into_inner();
                Ok((page.schema_versions, page.next_page_token))
            }
            Err(status) if status.code() == Code::NotFound => Ok((Vec::new(), String::new())),
            Err(status) => Err::<_, Status>(status),
        }
    })
    .await?;
    let mut documents = BTreeMap::new();
    for version in listed {
        let request =
            GetSchemaVersionRequest { schema_id: schema_id.to_owned(), version: version.version };
        let found = client.clone().get_schema_version(request).await;
        let found = found.map_err(|status| explain(&status, &doing))?.into_inner();
        let found = found.schema_version.context("the server answered without the version")?;
        documents.insert(found.version, found.document);
    }
    Ok(documents)
}

/// Whether two documents say the same, however they are spaced.
pub(super) fn same(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || (read(one).is_some() && read(one) == read(other))
}
