//! An account among others, and what it does with its own credentials.

use millrace_testkit::receiver::Receiver;
use serde_json::{Value, json};

use crate::{Answer, Kind, Publisher, Rest, Sink, Stack, TYPE, identity::basic};

const ACCOUNTS: &str = "/2010-04-01/Accounts.json";

/// An account of a test.
#[derive(Clone, Debug)]
pub struct Member {
    /// `AC…`.
    pub sid: String,
    /// Its auth token.
    pub auth_token: String,
}

impl Member {
    /// The account that a stack has from the start.
    pub fn first(stack: &Stack) -> Self {
        let identity = &stack.identity;
        Self { sid: identity.account_sid.clone(), auth_token: identity.auth_token.clone() }
    }

    /// Makes an account of its own, by the platform key.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn standalone(stack: &Stack) -> Self {
        Self::made(stack, &stack.rest_as(Some(&stack.identity.bearer()))).await
    }

    /// Makes a subaccount, by its own credentials.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn subaccount(&self, stack: &Stack) -> Self {
        Self::made(stack, &self.rest(stack)).await
    }

    async fn made(stack: &Stack, rest: &Rest) -> Self {
        let made = rest.post(ACCOUNTS, &[]).await;
        assert_eq!(made.status, 201, "{made:?}");
        stack.note(&made);
        Self { sid: made.text("/sid").to_owned(), auth_token: made.text("/auth_token").to_owned() }
    }

    /// Its `authorization`.
    pub fn basic(&self) -> String {
        basic(&self.sid, &self.auth_token)
    }

    /// REST with its credentials.
    pub fn rest(&self, stack: &Stack) -> Rest {
        stack.rest_as(Some(&self.basic()))
    }

    /// A producer with its credentials, at the first router.
    pub fn publisher(&self, stack: &Stack) -> Publisher {
        Publisher::new(&stack.url(Kind::Router(0)), &self.basic())
    }

    /// Makes a key of it; gives the key's `authorization`.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn key(&self, stack: &Stack, access: &str) -> String {
        let path = format!("/2010-04-01/Accounts/{}/Keys.json", self.sid);
        let made = self.rest(stack).post(&path, &[("Access", access)]).await;
        assert_eq!(made.status, 201, "{made:?}");
        stack.note(&made);
        basic(made.text("/sid"), made.text("/secret"))
    }

    /// Makes a second auth token; gives the account as it is by that one.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn second(&self, stack: &Stack) -> Self {
        let made = self.rest(stack).post("/v1/AuthTokens/Secondary", &[]).await;
        assert_eq!(made.status, 201, "{made:?}");
        stack.note(&made);
        let auth_token = made.text("/secondary_auth_token").to_owned();
        Self { sid: self.sid.clone(), auth_token }
    }

    /// Gives it another status, by the platform key; all routers know when this is done.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn turn(&self, stack: &Stack, status: &str) {
        let path = format!("/2010-04-01/Accounts/{}.json", self.sid);
        let platform = stack.rest_as(Some(&stack.identity.bearer()));
        let turned = platform.post(&path, &[("Status", status)]).await;
        assert_eq!((turned.status, turned.text("/status")), (200, status), "{turned:?}");
        stack.note(&turned);
        stack.settled().await;
    }

    /// Makes a sink at a path of `receiver`, which checks that it is signed.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn sink(&self, stack: &Stack, receiver: &Receiver, path: &str) -> Sink {
        let configuration = json!({ "destination": receiver.url(path), "method": "POST" });
        let sink = stack.sink_as(&self.basic(), configuration).await;
        receiver.expect_signatures(path, &self.auth_token, &sink.signing_secret);
        sink
    }

    /// Subscribes a sink to [`TYPE`], of its subaccounts as well where `include_subaccounts` says so.
    ///
    /// # Panics
    /// If that is refused.
    pub async fn subscribe(&self, stack: &Stack, sink: &Sink, include_subaccounts: bool) -> Answer {
        let types: Value = json!({ "type": TYPE });
        let form = [
            ("Description", "of a test"),
            ("SinkSid", &*sink.sid),
            ("Types", &types.to_string()),
            ("IncludeSubaccounts", if include_subaccounts { "true" } else { "false" }),
        ];
        let made = self.rest(stack).post("/v1/Subscriptions", &form).await;
        assert_eq!(made.status, 201, "{made:?}");
        stack.note(&made);
        stack.settled().await;
        made
    }
}
