//! The URL of a sink that is spoken to over HTTP.

use url::Url;

use super::fields::{Fields, refused};
use crate::{Refusal, Secret};

/// Longest destination URL, in bytes: what common servers take.
pub const DESTINATION_MAX_BYTES: usize = 2_048;

/// Reads `destination`: grammar only. Where it leads is for the address guard to judge.
pub(super) fn read(fields: &mut Fields) -> Result<Secret, Refusal> {
    let destination = fields.text("destination", "the URL to deliver to")?;
    check(&destination)?;
    Ok(Secret::new(destination))
}

fn check(destination: &str) -> Result<(), Refusal> {
    let refuse = |message: &str| Err(refused("destination", message));
    if destination.len() > DESTINATION_MAX_BYTES {
        return Err(Refusal::too_large(
            "SinkConfiguration.destination",
            format!("is longer than {DESTINATION_MAX_BYTES} bytes"),
        ));
    }
    let Ok(url) = Url::parse(destination) else {
        return refuse("is not a URL such as `https://example.com/events`");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return refuse(
            "must be an absolute URL with a host and `https`, or `http` where the operator allows it",
        );
    }
    if url.fragment().is_some() {
        return refuse("must not have a fragment (`#…`): connection overrides are not supported");
    }
    if url.query_pairs().any(|(name, _)| name == "bodySHA256") {
        return refuse("must not have a query parameter `bodySHA256`: signing adds it");
    }
    Ok(())
}
