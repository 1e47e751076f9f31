//! Reading a list to its end, page by page.

use tonic::Status;

use crate::client::failure;

/// Largest page a server gives.
const PAGE_MAX: usize = 1_000;

/// How much of a list to read.
#[derive(Clone, clap::Args)]
pub(crate) struct LimitArgs {
    /// List at most this many [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// Asks `fetch` (page size, page token → items, next token) for page after page, up to the limit.
///
/// # Errors
/// What the server refuses, explained; a page token that leads back to itself.
pub(crate) async fn all<T>(
    args: &LimitArgs,
    doing: &str,
    mut fetch: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Status>,
) -> anyhow::Result<Vec<T>> {
    let limit = args.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (mut items, mut token) = (Vec::new(), String::new());
    loop {
        let size = i32::try_from(PAGE_MAX.min(limit - items.len())).expect("at most PAGE_MAX");
        let (page, next) =
            fetch(size, token.clone()).await.map_err(|status| failure::explain(&status, doing))?;
        items.extend(page);
        items.truncate(limit);
        if next.is_empty() || items.len() == limit {
            return Ok(items);
        }
        anyhow::ensure!(next != token, "cannot {doing}: the server's pages lead in a circle");
        token = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(limit: Option<u32>, pages: &[(&[u32], &str)]) -> anyhow::Result<Vec<u32>> {
        let mut pages = pages.iter();
        all(&LimitArgs { limit }, "list", async |_, _| {
            let (items, next) = pages.next().expect("no page after the last");
            Ok((items.to_vec(), (*next).to_owned()))
        })
        .await
    }

    #[tokio::test]
    async fn reads_every_page_and_stops_at_the_limit() {
        let pages: [(&[u32], &str); 3] = [(&[1, 2], "a"), (&[], "b"), (&[3], "")];
        assert_eq!(read(None, &pages).await.expect("read"), [1, 2, 3]);
        assert_eq!(read(Some(1), &pages).await.expect("read"), [1]);
        assert_eq!(read(Some(2), &pages).await.expect("read"), [1, 2]);
    }

    #[tokio::test]
    async fn pages_in_a_circle_end() {
        assert!(read(None, &[(&[1], "a"), (&[1], "a")]).await.is_err());
    }
}
