//! Pages: whole while rows come, walkable both ways, with URLs of our own.

use millrace_domain::{AccountSid, AccountStatus};
use reqwest::Method;
use serde_json::Value;

use crate::harness::{Harness, TOKEN, read, refused, start, text};

/// Walks a list by `next_page_url` or `previous_page_url`, and gives the SIDs of each page.
async fn walk(it: &Harness, from: &str, link: &str, key: &str) -> Vec<Vec<String>> {
    let (mut url, mut pages) = (from.to_owned(), Vec::new());
    loop {
        let (status, page) = it.get(&url).await;
        assert_eq!(status, 200, "{page}");
        let rows = page[key].as_array().expect("a list");
        pages.push(rows.iter().map(|row| text(row, "sid")).collect());
        match &page["meta"][link] {
            Value::Null => return pages,
            next => url = next.as_str().expect("a URL").to_owned(),
        }
    }
}

#[tokio::test]
async fn a_walk_sees_every_row_once_although_rows_come_in() {
    let it = start().await;
    let mut sinks = Vec::new();
    for _ in 0..5 {
        sinks.push(it.sink().await);
    }
    let (_, first) = it.get("/v1/Sinks?PageSize=2").await;
    assert_eq!(first["meta"]["previous_page_url"], Value::Null);
    assert_eq!(first["meta"]["page_size"], 2);
    assert_eq!(text(&first["meta"], "url"), format!("{}/v1/Sinks?PageSize=2&Page=0", it.url));
    let late = it.sink().await;
    let next = text(&first["meta"], "next_page_url");
    assert!(
        next.starts_with(&format!("{}/v1/Sinks?PageSize=2&Page=1&PageToken=", it.url)),
        "{next}"
    );
    // The sink that the page ended with may even be gone.
    assert_eq!(it.delete(&format!("/v1/Sinks/{}", sinks[1])).await.0, 204);
    let rest = walk(&it, &next, "next_page_url", "sinks").await.concat();
    assert_eq!(rest, [&sinks[2..], &[late]].concat());
}

#[tokio::test]
async fn the_way_back_is_the_way_there() {
    let it = start().await;
    for _ in 0..7 {
        it.sink().await;
    }
    let there = walk(&it, "/v1/Sinks?PageSize=2", "next_page_url", "sinks").await;
    assert_eq!(there.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 1]);
    let (_, first) = it.get("/v1/Sinks?PageSize=2").await;
    let mut last = text(&first["meta"], "next_page_url");
    while let Some(next) = it.get(&last).await.1["meta"]["next_page_url"].as_str() {
        last = next.to_owned();
    }
    let mut back = walk(&it, &last, "previous_page_url", "sinks").await;
    back.reverse();
    assert_eq!(back, there);
}

#[tokio::test]
async fn every_list_pages() {
    let it = start().await;
    let sink = it.sink().await;
    let mut subscriptions = Vec::new();
    for event_type in ["queued", "sent", "read"] {
        let event_type = format!("com.twilio.messaging.message.{event_type}");
        subscriptions.push(it.subscription(&sink, &event_type).await);
    }
    let from = format!("/v1/Subscriptions?SinkSid={sink}&PageSize=1");
    let walked = walk(&it, &from, "next_page_url", "subscriptions").await;
    assert_eq!(walked.concat(), subscriptions);
    let mut types = 0;
    let mut url = "/v1/Types?PageSize=60".to_owned();
    loop {
        let (_, page) = it.get(&url).await;
        types += page["types"].as_array().expect("a list").len();
        let Some(next) = page["meta"]["next_page_url"].as_str() else { break };
        url = next.to_owned();
    }
    assert_eq!(
        types,
        it.get("/v1/Types?PageSize=1000").await.1["types"].as_array().map_or(0, Vec::len)
    );
    let (_, versions) = it.get("/v1/Schemas/Messaging.MessageStatus/Versions?PageSize=3").await;
    let next = text(&versions["meta"], "next_page_url");
    assert_eq!(it.get(&next).await.1["schema_versions"][0]["schema_version"], 4);
}

#[tokio::test]
async fn wrong_paging_is_refused() {
    let it = start().await;
    for (query, code, field) in [
        ("PageSize=0", 91002, "PageSize"),
        ("PageSize=-1", 91002, "PageSize"),
        ("PageSize=many", 91002, "PageSize"),
        ("PageSize=1001", 20007, "PageSize"),
        ("PageSize=99999999999999999999", 20007, "PageSize"),
        ("PageSize=00", 91002, "PageSize"),
        ("PageSize=%2B5x", 91002, "PageSize"),
        ("Page=-1", 91002, "Page"),
        ("Page=x", 91002, "Page"),
        ("PageToken=!", 91002, "PageToken"),
        ("PageToken=REcx", 91002, "PageToken"),
        ("PageSize=1&PageSize=2", 20001, "PageSize"),
        ("InUse=yes", 20001, "InUse"),
        ("Status=gone", 20001, "Status"),
    ] {
        let (status, told, message) = refused(it.get(&format!("/v1/Sinks?{query}")).await);
        assert_eq!((status, told), (400, code), "{query}: {message}");
        assert!(message.starts_with(&format!("{field}: ")), "{query}: {message}");
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_list_its_filters_and_its_account_only() {
    let it = start().await;
    let (first, _) = (it.sink().await, it.sink().await);
    for event_type in ["queued", "sent"] {
        it.subscription(&first, &format!("com.twilio.messaging.message.{event_type}")).await;
    }
    let token = async |path: &str| {
        let (status, page) = it.get(path).await;
        assert_eq!(status, 200, "{page}");
        let next = text(&page["meta"], "next_page_url");
        next.split_once("PageToken=").expect("a token").1.to_owned()
    };
    let sinks = token("/v1/Sinks?PageSize=1").await;
    let subscriptions = token("/v1/Subscriptions?PageSize=1").await;
    let versions = token("/v1/Schemas/Messaging.MessageStatus/Versions?PageSize=1").await;
    let types = token("/v1/Types?SchemaId=Messaging.MessageStatus&PageSize=1").await;
    assert_eq!(token("/v1/Sinks?PageSize=1").await, sinks, "the same list, the same token");
    assert_eq!(it.get(&format!("/v1/Sinks?PageSize=9&PageToken={sinks}")).await.0, 200);
    for (list, token) in [
        ("/v1/Sinks?", &subscriptions),
        ("/v1/Sinks?InUse=true&", &sinks),
        ("/v1/Sinks?Status=active&", &sinks),
        ("/v1/Subscriptions?", &sinks),
        (&format!("/v1/Subscriptions?SinkSid={first}&"), &subscriptions),
        ("/v1/Types?", &types),
        ("/v1/Types?SchemaId=Voice.WebhookEvent&", &types),
        ("/v1/Schemas/Voice.WebhookEvent/Versions?", &versions),
    ] {
        let (status, code, message) = refused(it.get(&format!("{list}PageToken={token}")).await);
        assert_eq!((status, code), (400, 91002), "{list}: {message}");
        assert!(message.starts_with("PageToken: "), "{list}: {message}");
    }
    let other = AccountSid::from_u128(2);
    it.add_account(other, AccountStatus::Active).await;
    let request = it.anonymous(Method::GET, &format!("/v1/Sinks?PageToken={sinks}"));
    let (status, code, _) = refused(read(request.basic_auth(other, Some(TOKEN))).await);
    assert_eq!((status, code), (400, 91002), "of another account");
}
