//! `millrace sinks update`: changes what is named, and nothing else.

use anyhow::Context;
use millrace_proto::v1::{
    self, sink::Configuration, sink_service_client::SinkServiceClient as Client,
};

use super::{MethodArg, TypeArg, configuration, delivery::LimitsArgs, headers::HeaderArgs};
use crate::client::{connection::Connection, failure::explain, shape};

#[derive(clap::Args)]
pub(super) struct UpdateArgs {
    /// The sink's SID.
    #[arg(value_name = "DG…")]
    sid: String,
    /// What the sink is for, for people.
    #[arg(long)]
    description: Option<String>,
    /// Deliver to this URL from now on.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// How the webhook is called.
    #[arg(long, ignore_case = true)]
    method: Option<MethodArg>,
    /// Put several events into a request; `--batch=false`: one.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    batch: Option<bool>,
    /// The whole configuration anew, as in `SinkConfiguration` of `events/v1`.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["webhook", "method", "batch"])]
    configuration: Option<String>,
    /// Send nothing until `--resume`; events are kept for their window.
    #[arg(long, conflicts_with = "resume")]
    paused: bool,
    /// Send again after `--paused`, what was kept included.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    headers: HeaderArgs,
    /// Send no headers of your own any more.
    #[arg(long, conflicts_with = "header")]
    no_headers: bool,
    #[command(flatten)]
    limits: LimitsArgs,
}

impl UpdateArgs {
    /// Changes the sink; gives it as it now is.
    pub(super) async fn run(self, client: &mut Client<Connection>) -> anyhow::Result<v1::Sink> {
        let failed = format!("update the sink `{}`", self.sid);
        let (mut sink, mut paths) = self.simple();
        if self.reconfigures() {
            let request = v1::GetSinkRequest { sid: self.sid.clone() };
            let found = client.get_sink(request).await.map_err(|s| explain(&s, &failed))?;
            let now = found.into_inner().sink.and_then(|sink| sink.configuration);
            let new = self.reconfigured(now.context("the server answered without the sink")?)?;
            paths.push(shape::type_of(&new));
            sink.configuration = Some(new);
        }
        anyhow::ensure!(!paths.is_empty(), "nothing to change: `--help` shows what can be");
        let paths = paths.into_iter().map(str::to_owned).collect();
        let request = v1::UpdateSinkRequest {
            sink: Some(sink),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        let updated = client.update_sink(request).await.map_err(|s| explain(&s, &failed))?;
        updated.into_inner().sink.context("the server answered without the sink")
    }

    /// What changes without a look at what is, and the names of its fields.
    fn simple(&self) -> (v1::Sink, Vec<&'static str>) {
        let mut sink = v1::Sink { sid: self.sid.clone(), ..v1::Sink::default() };
        let mut paths = self.limits.apply(&mut sink);
        if self.headers.apply(&mut sink) || self.no_headers {
            paths.push("headers");
        }
        if let Some(description) = &self.description {
            sink.description.clone_from(description);
            paths.push("description");
        }
        if self.paused || self.resume {
            sink.paused = self.paused;
            paths.push("paused");
        }
        (sink, paths)
    }

    fn reconfigures(&self) -> bool {
        let Self { webhook, method, batch, configuration, .. } = self;
        webhook.is_some() || method.is_some() || batch.is_some() || configuration.is_some()
    }

    /// The configuration that is to be, from the one that is.
    fn reconfigured(&self, now: Configuration) -> anyhow::Result<Configuration> {
        if let Some(json) = &self.configuration {
            let sink_type = match now {
                Configuration::Webhook(_) => TypeArg::Webhook,
                Configuration::Kinesis(_) => TypeArg::Kinesis,
                Configuration::Segment(_) => TypeArg::Segment,
                Configuration::Cloudevents(_) => TypeArg::CloudEvents,
                Configuration::File(_) => TypeArg::File,
            };
            return configuration(sink_type, json);
        }
        let Configuration::Webhook(mut webhook) = now else {
            anyhow::bail!("only a webhook has --webhook, --method and --batch");
        };
        if let Some(destination) = &self.webhook {
            webhook.destination.clone_from(destination);
        }
        if let Some(method) = self.method {
            webhook.method = method.wire().into();
        }
        webhook.batch_events = self.batch.unwrap_or(webhook.batch_events);
        Ok(Configuration::Webhook(webhook))
    }
}
