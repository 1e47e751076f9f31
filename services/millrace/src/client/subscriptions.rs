//! `millrace subscriptions`: which events go to which sink.

use std::process::ExitCode;

use anyhow::Context;
use millrace_proto::v1::{self, subscription_service_client::SubscriptionServiceClient as Client};
use serde_json::Value;

use crate::client::{
    connection::{Connection, ConnectionArgs, Credentials, connect},
    failure::explain,
    list::{self, LimitArgs},
    output::{self, OutputArgs},
    shape,
};

mod events;

/// Create, list, show, change and delete subscriptions: which types of event go to which sink.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubscriptionsArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(subcommand)]
    command: SubscriptionCommand,
}

const EXAMPLES: &str = "\
Examples:
  millrace subscriptions create --sink DG… --description 'outbound' \\
    --type com.twilio.messaging.message.sent --type com.twilio.messaging.message.delivered@4
  millrace subscriptions update DF… --include-subaccounts
  millrace subscriptions add DF… com.twilio.messaging.message.failed
  millrace subscriptions pin DF… com.twilio.messaging.message.delivered@3
  millrace subscriptions list --sink DG…";

#[derive(clap::Subcommand)]
enum SubscriptionCommand {
    /// Subscribe a sink to types of event.
    Create {
        /// The sink that the events go to.
        #[arg(long, value_name = "DG…")]
        sink: String,
        /// A type of event, pinned to a version of its schema (without one: the latest); may be repeated.
        #[arg(long = "type", value_name = "NAME[@VERSION]", required = true, value_parser = subscribed)]
        types: Vec<v1::SubscribedEvent>,
        /// What the subscription is for, for people.
        #[arg(long)]
        description: String,
        /// Take the events of the account's subaccounts, too; each names its account in the attribute `accountsid`.
        #[arg(long)]
        include_subaccounts: bool,
    },
    /// Change a subscription's description, and whether it takes subaccounts' events.
    Update(UpdateArgs),
    #[command(flatten)]
    Events(events::EventsCommand),
    /// List the account's subscriptions, oldest first.
    List {
        /// Only those of this sink.
        #[arg(long, value_name = "DG…")]
        sink: Option<String>,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Show a subscription with its types.
    Get {
        /// The subscription's SID.
        #[arg(value_name = "DF…")]
        sid: String,
    },
    /// Delete subscriptions; their sinks stay.
    Delete {
        /// The subscriptions' SIDs.
        #[arg(value_name = "DF…", required = true)]
        sids: Vec<String>,
    },
}

#[derive(clap::Args)]
struct UpdateArgs {
    /// The subscription's SID.
    #[arg(value_name = "DF…")]
    sid: String,
    /// What the subscription is for, for people.
    #[arg(long)]
    description: Option<String>,
    /// Take the events of the account's subaccounts, too; `--include-subaccounts=false`: no more.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    include_subaccounts: Option<bool>,
}

impl UpdateArgs {
    /// `None`: nothing is to change.
    fn request(self) -> Option<v1::UpdateSubscriptionRequest> {
        let mut paths = Vec::new();
        let mut subscription = v1::Subscription { sid: self.sid, ..v1::Subscription::default() };
        if let Some(description) = self.description {
            subscription.description = description;
            paths.push("description".to_owned());
        }
        if let Some(include) = self.include_subaccounts {
            subscription.include_subaccounts = include;
            paths.push("include_subaccounts".to_owned());
        }
        let mask = (!paths.is_empty()).then_some(prost_types::FieldMask { paths });
        mask.map(|mask| v1::UpdateSubscriptionRequest {
            subscription: Some(subscription),
            update_mask: Some(mask),
        })
    }
}

/// Reads `NAME` or `NAME@VERSION`.
fn subscribed(text: &str) -> Result<v1::SubscribedEvent, String> {
    let (name, version) = match text.split_once('@') {
        None => (text, 0),
        Some((name, version)) => {
            let version = version.parse().ok().filter(|version| *version > 0);
            (name, version.ok_or("after `@` comes a schema version, 1 or more")?)
        }
    };
    if name.is_empty() {
        return Err("the name of an event type comes first".to_owned());
    }
    Ok(v1::SubscribedEvent { r#type: name.to_owned(), schema_version: version })
}

/// Does what `millrace subscriptions` was asked for.
pub(crate) async fn run(args: SubscriptionsArgs) -> anyhow::Result<ExitCode> {
    let credentials = args.connection.as_account()?;
    let mut client = Client::new(connect(args.connection.server(), &credentials).await?);
    match args.command {
        SubscriptionCommand::Create { sink, types, description, include_subaccounts } => {
            let subscription = v1::Subscription {
                account_sid: credentials.account_named(),
                description,
                sink_sid: sink,
                types,
                include_subaccounts,
                ..v1::Subscription::default()
            };
            let request = v1::CreateSubscriptionRequest {
                subscription: Some(subscription),
                ..Default::default()
            };
            let made = client.create_subscription(request).await;
            let made = made.map_err(|s| explain(&s, "create the subscription"))?;
            show(&args.output, made.into_inner().subscription)?;
        }
        SubscriptionCommand::Update(update) => {
            let failed = format!("update the subscription `{}`", update.sid);
            let request =
                update.request().context("nothing to change: `--help` shows what can be")?;
            let updated = client.update_subscription(request).await;
            let updated = updated.map_err(|s| explain(&s, &failed))?;
            show(&args.output, updated.into_inner().subscription)?;
        }
        SubscriptionCommand::Events(command) => {
            show(&args.output, events::run(&mut client, command).await?)?;
        }
        SubscriptionCommand::List { sink, limit } => {
            let sink = sink.unwrap_or_default();
            let subscriptions = list_subscriptions(&client, &credentials, &sink, &limit).await?;
            show_list(&args.output, &subscriptions)?;
        }
        SubscriptionCommand::Get { sid } => {
            let found =
                client.get_subscription(v1::GetSubscriptionRequest { sid: sid.clone() }).await;
            let found = found.map_err(|s| explain(&s, &format!("get the subscription `{sid}`")))?;
            show(&args.output, found.into_inner().subscription)?;
        }
        SubscriptionCommand::Delete { sids } => {
            for sid in sids {
                let request = v1::DeleteSubscriptionRequest { sid: sid.clone() };
                let deleted = client.delete_subscription(request).await;
                deleted.map_err(|s| explain(&s, &format!("delete the subscription `{sid}`")))?;
                output::deleted(&args.output, "subscription", &sid)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list_subscriptions(
    client: &Client<Connection>,
    credentials: &Credentials,
    sink_sid: &str,
    limit: &LimitArgs,
) -> anyhow::Result<Vec<v1::Subscription>> {
    list::all(limit, "list the subscriptions", async |page_size, page_token| {
        let request = v1::ListSubscriptionsRequest {
            account_sid: credentials.account_named(),
            page_size,
            page_token,
            sink_sid: sink_sid.to_owned(),
        };
        let page = client.clone().list_subscriptions(request).await?.into_inner();
        Ok((page.subscriptions, page.next_page_token))
    })
    .await
}

fn show(output: &OutputArgs, subscription: Option<v1::Subscription>) -> anyhow::Result<()> {
    let subscription = subscription.context("the server answered without the subscription")?;
    if output.json {
        return output::json(&shape::subscription(&subscription));
    }
    let mut fields = vec![
        ("sid", subscription.sid),
        ("description", subscription.description),
        ("sink", subscription.sink_sid),
        ("account", subscription.account_sid),
        ("created", shape::time(subscription.create_time.as_ref())),
        ("updated", shape::time(subscription.update_time.as_ref())),
    ];
    fields.extend(subscription.types.iter().map(|t| ("type", pinned(t))));
    if subscription.include_subaccounts {
        fields.push(("subaccounts", "included".to_owned()));
    }
    output::line(&output::fields(fields))
}

fn show_list(output: &OutputArgs, subscriptions: &[v1::Subscription]) -> anyhow::Result<()> {
    if output.json {
        return output::json(&Value::Array(
            subscriptions.iter().map(shape::subscription).collect(),
        ));
    }
    if subscriptions.is_empty() {
        return output::line(
            "no subscriptions; `millrace subscriptions create --help` shows how to make one",
        );
    }
    let rows = subscriptions.iter().map(|subscription| {
        let types = match subscription.types.as_slice() {
            [one] => pinned(one),
            types => format!("{} types", types.len()),
        };
        vec![
            subscription.sid.clone(),
            subscription.sink_sid.clone(),
            types,
            shape::time(subscription.create_time.as_ref()),
            subscription.description.clone(),
        ]
    });
    let headings = ["SID", "SINK", "TYPES", "CREATED", "DESCRIPTION"];
    output::line(&output::columns(&headings, rows.collect()))
}

fn pinned(subscribed: &v1::SubscribedEvent) -> String {
    format!("{}@{}", subscribed.r#type, subscribed.schema_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_changes_what_is_named() {
        let args = |description: Option<&str>, include_subaccounts| UpdateArgs {
            sid: "DF1".to_owned(),
            description: description.map(str::to_owned),
            include_subaccounts,
        };
        assert_eq!(args(None, None).request(), None);
        let request = args(None, Some(false)).request().expect("a change");
        assert_eq!(request.update_mask.expect("a mask").paths, ["include_subaccounts"]);
        let request = args(Some("d"), Some(true)).request().expect("a change");
        assert_eq!(request.update_mask.expect("a mask").paths.len(), 2);
        assert!(request.subscription.expect("a subscription").include_subaccounts);
    }

    #[test]
    fn a_type_may_be_pinned_to_a_version() {
        let read = |text| subscribed(text).map(|s| (s.r#type, s.schema_version));
        assert_eq!(read("com.example.a"), Ok(("com.example.a".to_owned(), 0)));
        assert_eq!(read("com.example.a@4"), Ok(("com.example.a".to_owned(), 4)));
        for wrong in
            ["com.example.a@", "com.example.a@0", "com.example.a@x", "com.example.a@-1", "@1"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
