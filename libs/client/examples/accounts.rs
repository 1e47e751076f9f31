//! Makes a subaccount and a key that only publishes, publishes with it, and shows that it may do nothing else:
//! `cargo run -p millrace-client --example accounts -- URL AC… TOKEN`

use millrace_client::{
    Client, Credentials,
    v1::{self, publish_result::Outcome},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for line in run(&arguments).await? {
        println!("{line}");
    }
    Ok(())
}

/// Does it, and tells what is to be printed.
pub(crate) async fn run(arguments: &[String]) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let [server, sid, token] = arguments else {
        return Err("give URL, account SID and auth token".into());
    };
    let parent = Client::connect(server, Credentials::account(sid, token))?;
    let account = parent
        .create_account(v1::CreateAccountRequest {
            friendly_name: "of the example".to_owned(),
            ..Default::default()
        })
        .await?;
    let key = parent
        .create_api_key(v1::CreateApiKeyRequest {
            account_sid: account.sid.clone(),
            friendly_name: "ingest".to_owned(),
            access: v1::KeyAccess::PublishOnly.into(),
            ..Default::default()
        })
        .await?;
    let mut lines = vec![format!("{} has the key {}", account.friendly_name, key.friendly_name)];
    let producer = Client::connect(server, Credentials::account(&key.sid, &key.secret))?;
    let event = v1::Event {
        r#type: "com.twilio.messaging.message.sent".to_owned(),
        source: "/example".to_owned(),
        data: "{\"messageSid\": \"SM1\"}".into(),
        ..Default::default()
    };
    for result in producer.publish(vec![event]).await? {
        lines.push(match result.outcome {
            Some(Outcome::Accepted(_)) => "it publishes".to_owned(),
            other => format!("it does not publish: {other:?}"),
        });
    }
    let refused = producer.create_sink(v1::Sink::default()).await.err();
    lines.push(refused.map_or_else(String::new, |status| status.message().to_owned()));
    Ok(lines)
}
