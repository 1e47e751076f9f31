//! Makes a sink and a subscription, publishes a stream of events, and says what became of each:
//! `cargo run -p millrace-client --example publish -- URL AC… TOKEN http://127.0.0.1:4000/`

use millrace_client::{
    Client, Credentials,
    v1::{self, publish_result::Outcome},
};

const TYPE: &str = "com.twilio.messaging.message.sent";

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
    let [server, sid, token, destination] = arguments else {
        return Err("give URL, account SID, auth token and the URL of a webhook".into());
    };
    let mut lines = Vec::new();
    let client = Client::connect(server, Credentials::account(sid, token))?;
    let webhook =
        v1::WebhookConfiguration { destination: destination.clone(), ..Default::default() };
    let sink = client
        .create_sink(v1::Sink {
            description: "of the example".to_owned(),
            configuration: Some(v1::sink::Configuration::Webhook(webhook)),
            ..Default::default()
        })
        .await?;
    client
        .create_subscription(v1::Subscription {
            description: "of the example".to_owned(),
            sink_sid: sink.sid.clone(),
            types: vec![v1::SubscribedEvent { r#type: TYPE.to_owned(), schema_version: 0 }],
            ..Default::default()
        })
        .await?;
    let mut publishes = client.publish_stream(true).await?;
    for number in 0..3 {
        let event = v1::Event {
            id: format!("example-{number}"),
            r#type: TYPE.to_owned(),
            source: "/example".to_owned(),
            data: "{\"messageSid\": \"SM1\"}".into(),
            ..Default::default()
        };
        publishes.send(vec![event]).await?;
    }
    publishes.finish();
    while let Some(published) = publishes.next().await? {
        for result in published.results {
            let outcome = match result.outcome {
                Some(Outcome::Accepted(accepted)) => format!("goes to {} sinks", accepted.sinks),
                Some(Outcome::Duplicate(_)) => "was published before".to_owned(),
                Some(Outcome::Rejected(rejected)) => rejected.message,
                None => "has no outcome".to_owned(),
            };
            lines.push(format!("batch {}: {} {outcome}", published.batch, result.id));
        }
    }
    Ok(lines)
}
