//! `millrace schemas push`: registers what a server does not have. Checks all of it first: a mistake registers nothing.

use millrace_proto::v1::RegisterSchemaVersionRequest;

use super::{
    check,
    server::{self, Client},
};
use crate::client::{directory::Directory, failure::explain, output};

/// Registers the versions of a directory that the server does not have, and prints each. `dry_run`: registers none.
///
/// # Errors
/// What does not compile or is not additive, before anything is registered; what the server refuses.
pub(crate) async fn push(
    client: &Client,
    directory: &Directory,
    dry_run: bool,
) -> anyhow::Result<()> {
    let (mut checked, mut missing, mut there) = (Vec::new(), Vec::new(), 0_usize);
    for (schema_id, versions) in &directory.schemas {
        let known = server::versions(client, schema_id).await?;
        checked.extend(check::schema(schema_id, versions, &known));
        for (number, version) in versions {
            match known.get(number).is_some_and(|document| !document.is_empty()) {
                true => there += 1,
                false => missing.push((schema_id, *number, version)),
            }
        }
    }
    check::all_in_order(&checked)?;
    for (schema_id, number, version) in &missing {
        if !dry_run {
            let request = RegisterSchemaVersionRequest {
                schema_id: (*schema_id).clone(),
                version: *number,
                document: version.text.clone(),
            };
            let registered = client.clone().register_schema_version(request).await;
            let doing = format!("register `{}`", version.path.display());
            registered.map_err(|status| explain(&status, &doing))?;
        }
        output::line(&format!("+ schema {schema_id} {number}"))?;
    }
    let would = if dry_run { "to register" } else { "registered" };
    output::line(&format!("schema versions: {} {would}, {there} unchanged", missing.len()))
}
