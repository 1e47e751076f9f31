//! A test of a sink, step by step: what its owner has to mend is told in words.

use std::time::Duration;

use aws_sdk_kinesis::{
    config::Builder,
    types::{ShardFilter, ShardFilterType},
};
use millrace_domain::outcome::Reason;
use millrace_sinks::{Attempt, Delivery, Examination, SinkSpec, Step};
use tokio::time::{Instant, timeout};

use crate::{
    Kinesis,
    roles::{Asked, Refused, Session},
    target::Target,
    verdict::{Verdict, said},
};

impl Kinesis {
    /// Assumes the role anew, looks at the stream's shards, and sends `event`. Where the role cannot be assumed, nothing is sent;
    /// that shards cannot be listed keeps no record away.
    pub(crate) async fn look_and_send(
        &self,
        sink: &SinkSpec,
        event: &Delivery,
        now_seconds: i64,
    ) -> Examination {
        let Ok(target) = Target::of(sink, &self.role_accounts) else {
            let attempt = self.attempt(sink, std::slice::from_ref(event), now_seconds).await;
            return Examination { steps: Vec::new(), attempt };
        };
        let asked = Asked { session_name: format!("millrace-{}", sink.sid), now_seconds };
        let secrets = target.secrets();
        let clean = |text: String| millrace_sinks::clean_text(text.as_bytes(), &secrets);
        let began = Instant::now();
        let session = self.roles.ask_anew(&target.role, &asked).await;
        let assumed = match &session {
            Ok(_) => Ok(format!("{} as {}", target.role.arn, asked.session_name)),
            Err(refused) => Err(clean(self.remedy(&target, refused).await)),
        };
        let mut steps = vec![step("assume role", began, assumed)];
        let session = match session {
            Ok(session) => session,
            Err(refused) => {
                let Verdict { outcomes, http_status, detail, .. } = Verdict::refused(refused, 1);
                let (duration, detail) = (began.elapsed(), clean(detail));
                let attempt = Attempt { outcomes, http_status, duration, detail };
                return Examination { steps, attempt };
            }
        };
        let began = Instant::now();
        let listed = self.shards(&target, &session).await.map_err(clean);
        steps.push(step("list shards", began, listed));
        let attempt = self.attempt(sink, std::slice::from_ref(event), now_seconds).await;
        Examination { steps, attempt }
    }

    async fn shards(&self, target: &Target, session: &Session) -> Result<String, String> {
        let open = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build();
        let open = open.map_err(|error| error.to_string())?;
        let listing = async {
            let client = self.own.kinesis(&target.region).await;
            let with = Builder::new().credentials_provider(session.credentials.clone());
            let request = client.list_shards().stream_arn(&target.arn).shard_filter(open);
            request.customize().config_override(with).send().await
        };
        let wrong = |what: String| {
            format!("{}: the shards cannot be listed: {what}", Reason::Shards.code())
        };
        // What is left after it is enough for the rest, which has a deadline of its own.
        let patience: Duration = self.deadline * 2 / 5;
        match timeout(patience, listing).await {
            Ok(Ok(answer)) => {
                let more = if answer.next_token().is_some() { " at least" } else { "" };
                Ok(format!("{}{more} open", answer.shards().len()))
            }
            Ok(Err(error)) => Err(wrong(said(&error))),
            Err(_) => Err(wrong(format!("no answer within {patience:?}"))),
        }
    }

    /// What is wrong with the role and what would mend it.
    async fn remedy(&self, target: &Target, refused: &Refused) -> String {
        let Refused { detail, .. } = refused;
        let principal = self.roles.assume().principal(target.role.partition).await;
        match principal {
            Some(principal) => format!(
                "{detail}. The trust policy of {} must allow `sts:AssumeRole` to the principal {principal}, with `sts:ExternalId` equal to the sink's external id",
                target.role.arn
            ),
            None => detail.clone(),
        }
    }
}

fn step(name: &'static str, began: Instant, result: Result<String, String>) -> Step {
    Step { name, duration: began.elapsed(), result }
}
