//! Asks any operation, and tells what became of it.

use bytes::{Buf, BufMut};
use millrace_control_plane::operations::Takes;
use reqwest::Method;
use serde_json::Value;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use super::{
    About, Outcome, Role, Target,
    family::{Family, Member},
    request::{Messages, form, path_of},
};
use crate::harness::Harness;

/// One operation of one face.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operation {
    /// REST's method; empty for gRPC.
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) takes: Takes,
}

impl Operation {
    pub(crate) fn rest(method: &'static str, path: &'static str, takes: Takes) -> Self {
        Self { method, path, takes }
    }

    pub(crate) fn grpc(path: &'static str, takes: Takes) -> Self {
        Self { method: "", path, takes }
    }

    /// The last word of a gRPC method's name.
    fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn makes_accounts(&self) -> bool {
        self.name() == "CreateAccount" || (self.method, self.name()) == ("POST", "Accounts.json")
    }

    pub(crate) fn is_about_events(&self) -> bool {
        self.path.contains(".EventService/")
    }

    pub(crate) fn changes(&self) -> bool {
        match self.method {
            "" => !self.name().starts_with("Get") && !self.name().starts_with("List"),
            method => method != "GET",
        }
    }

    pub(crate) fn about(&self) -> About {
        let account_service = self.path.contains("AccountService");
        match (self.method, self.path) {
            // Whose subaccount the new one is.
            ("", _) if self.makes_accounts() => About::Account,
            ("", _) if account_service => About::Family,
            ("", _) if Messages::names_account(self.path) => About::Account,
            ("", path) if path.contains("EventType") || path.contains("Schema") => About::Catalogue,
            ("POST", path) if path.starts_with("/v1/Types") || path.starts_with("/v1/Schemas") => {
                About::Catalogue
            }
            ("POST", "/v1/Subscriptions") => About::Resource,
            (_, path) if path.contains("{account}") => About::Family,
            (_, path) if path.contains("{sid}") => About::Resource,
            ("", _) => About::Resource,
            _ => About::Account,
        }
    }
}

pub(crate) struct Asker<'a> {
    it: &'a Harness,
    channel: Channel,
    messages: Messages,
}

impl<'a> Asker<'a> {
    pub(crate) async fn new(it: &'a Harness) -> Self {
        Self { it, channel: it.channel().await, messages: Messages::read() }
    }

    /// What becomes of a request, and in which words.
    pub(crate) async fn ask(
        &self,
        role: Role,
        operation: &Operation,
        family: &Family,
        target: Target,
    ) -> (Outcome, String) {
        let about = family.member(role, target);
        let authorization = family.authorization(role);
        match operation.method {
            "" => self.ask_grpc(operation, authorization, about).await,
            _ => self.ask_rest(operation, authorization, about).await,
        }
    }

    async fn ask_rest(
        &self,
        operation: &Operation,
        authorization: Option<String>,
        about: &Member,
    ) -> (Outcome, String) {
        let method: Method = operation.method.parse().expect("a method");
        let mut request = self.it.anonymous(method, &path_of(operation.path, about));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if operation.about() == About::Account {
            request = request.header("millrace-account-sid", about.account.to_string());
        }
        if operation.method == "POST" {
            let body = form(operation.path, about);
            request =
                request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let outcome = match (status, body["code"].as_u64()) {
            (401, _) => Outcome::Unauthenticated,
            (403, Some(20005)) => Outcome::Inactive,
            (403, _) => Outcome::Denied,
            // It was looked for among the account's own: nobody was in its way.
            (404, _) if text.contains("nothing is known of event") => Outcome::Allowed,
            (404, _) => Outcome::NotFound,
            (500, _) => panic!("{operation:?} fails: {text}"),
            _ => Outcome::Allowed,
        };
        (outcome, format!("{status} {text}"))
    }

    async fn ask_grpc(
        &self,
        operation: &Operation,
        authorization: Option<String>,
        about: &Member,
    ) -> (Outcome, String) {
        let mut request = Request::new(self.messages.request(operation.path, about));
        if let Some(authorization) = authorization {
            let value = authorization.parse().expect("ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.expect("a server");
        let path = operation.path.parse().expect("a path");
        let Err(status) = grpc.unary(request, path, Raw).await else {
            return (Outcome::Allowed, "done".to_owned());
        };
        let outcome = match status.code() {
            Code::Unauthenticated => Outcome::Unauthenticated,
            Code::PermissionDenied if status.message().starts_with("the account is") => {
                Outcome::Inactive
            }
            Code::PermissionDenied => Outcome::Denied,
            Code::NotFound => Outcome::NotFound,
            Code::Internal | Code::Unimplemented | Code::Unknown => {
                panic!("{operation:?} fails: {status}")
            }
            _ => Outcome::Allowed,
        };
        (outcome, format!("{:?} {}", status.code(), status.message()))
    }
}

/// Messages as the bytes they are.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}
