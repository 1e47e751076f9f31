//! Accounts, sinks and subscriptions, made as a customer makes them.

use millrace_proto::v1::{
    CreateAccountRequest, GetSinkRequest, account_service_client::AccountServiceClient,
    sink_service_client::SinkServiceClient,
};
use millrace_testkit::receiver::Receiver;
use serde_json::{Value, json};

use super::{Kind, Stack};
use crate::{
    TYPE,
    identity::basic,
    publisher::{authorized, channel},
};

/// A sink that a test made.
#[derive(Clone, Debug)]
pub struct Sink {
    /// `DG…`.
    pub sid: String,
    /// `whsec_…`.
    pub signing_secret: String,
}

impl Stack {
    /// Makes another account with a sink at a path of `receiver` that gets [`TYPE`]; gives its SID.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn tenant(&self, number: usize, receiver: &Receiver) -> String {
        let sid = format!("AC{number:032x}");
        let auth_token = self.identity.auth_token.clone();
        let account = CreateAccountRequest {
            sid: sid.clone(),
            auth_token: auth_token.clone(),
            ..CreateAccountRequest::default()
        };
        let mut accounts = AccountServiceClient::new(channel(&self.url(Kind::ControlPlane)));
        let made = accounts.create_account(authorized(account, &self.identity.bearer())).await;
        made.expect("the account is made");
        let credentials = basic(&sid, &auth_token);
        let path = format!("/tenant-{number}");
        let configuration = json!({ "destination": receiver.url(&path), "method": "POST" });
        let sink = self.sink_as(&credentials, configuration).await;
        receiver.expect_signatures(&path, &auth_token, &sink.signing_secret);
        self.subscribe_as(&credentials, &sink, &[json!({ "type": TYPE })]).await;
        sid
    }

    /// Makes so many accounts as [`Stack::tenant`] does; gives their SIDs.
    ///
    /// # Panics
    /// If one is refused.
    pub async fn tenants(&self, count: usize, receiver: &Receiver) -> Vec<String> {
        let mut sids = Vec::new();
        for number in 0..count {
            sids.push(self.tenant(100 + number, receiver).await);
        }
        sids
    }

    /// Makes a webhook sink at a path of `receiver`, which checks from then on that it is signed.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn sink(&self, receiver: &Receiver, path: &str, batch_events: bool) -> Sink {
        let destination = receiver.url(path);
        let sink =
            json!({"destination": destination, "method": "POST", "batch_events": batch_events});
        let sink = self.sink_with(sink).await;
        receiver.expect_signatures(path, &self.identity.auth_token, &sink.signing_secret);
        sink
    }

    /// Makes a webhook sink.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn sink_with(&self, configuration: Value) -> Sink {
        self.sink_as(&self.identity.basic(), configuration).await
    }

    /// Makes a sink of any type.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn sink_of(&self, sink_type: &str, configuration: Value) -> Sink {
        self.make_sink(&self.identity.basic(), sink_type, configuration).await
    }

    /// Makes a webhook sink of whose `credentials` they are.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn sink_as(&self, credentials: &str, configuration: Value) -> Sink {
        self.make_sink(credentials, "webhook", configuration).await
    }

    async fn make_sink(&self, credentials: &str, sink_type: &str, configuration: Value) -> Sink {
        let configuration = configuration.to_string();
        let form = [
            ("Description", "of a test"),
            ("SinkType", sink_type),
            ("SinkConfiguration", configuration.as_str()),
        ];
        let made = self.rest_as(Some(credentials)).post("/v1/Sinks", &form).await;
        assert_eq!(made.status, 201, "{made:?}");
        self.note(&made);
        let sid = made.text("/sid").to_owned();
        let signing_secret = self.signing_secret(credentials, &sid).await;
        Sink { sid, signing_secret }
    }

    /// Subscribes a sink to types at their latest version, and waits until all routers know.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn subscribe(&self, sink: &Sink, types: &[&str]) {
        let types: Vec<Value> = types.iter().map(|name| json!({ "type": name })).collect();
        self.subscribe_to(sink, &types).await;
    }

    /// Subscribes a sink to `types` as REST takes them, and waits until all routers know.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn subscribe_to(&self, sink: &Sink, types: &[Value]) {
        self.subscribe_as(&self.identity.basic(), sink, types).await;
    }

    async fn subscribe_as(&self, credentials: &str, sink: &Sink, types: &[Value]) {
        let types: Vec<String> = types.iter().map(Value::to_string).collect();
        let mut form = vec![("Description", "of a test"), ("SinkSid", &*sink.sid)];
        form.extend(types.iter().map(|kind| ("Types", kind.as_str())));
        let made = self.rest_as(Some(credentials)).post("/v1/Subscriptions", &form).await;
        assert_eq!(made.status, 201, "{made:?}");
        self.note(&made);
        self.settled().await;
    }

    /// Deletes a sink, and before it the subscriptions that use it.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn delete_sink(&self, sink: &Sink) {
        let rest = self.rest();
        let listed = rest.get(&format!("/v1/Subscriptions?SinkSid={}", sink.sid)).await;
        for subscription in listed.body["subscriptions"].as_array().expect("a list") {
            let sid = subscription["sid"].as_str().expect("a SID");
            assert_eq!(rest.delete(&format!("/v1/Subscriptions/{sid}")).await.status, 204);
        }
        assert_eq!(rest.delete(&format!("/v1/Sinks/{}", sink.sid)).await.status, 204);
    }

    /// A sink of `receiver` that gets [`TYPE`], unbatched.
    pub async fn subscribed(&self, receiver: &Receiver, path: &str) -> Sink {
        let sink = self.sink(receiver, path, false).await;
        self.subscribe(&sink, &[TYPE]).await;
        sink
    }

    async fn signing_secret(&self, credentials: &str, sid: &str) -> String {
        let mut sinks = SinkServiceClient::new(channel(&self.url(Kind::ControlPlane)));
        let request = authorized(GetSinkRequest { sid: sid.to_owned() }, credentials);
        let sink = sinks.get_sink(request).await.expect("the sink is there").into_inner();
        sink.sink.expect("a sink").signing_secret
    }
}
