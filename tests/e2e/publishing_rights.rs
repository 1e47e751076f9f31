//! Who may publish for whom: every way to publish, asked by everybody, for their own account and for others'. What is right is
//! worked out from a rule.

use millrace_domain::{KeyAccess, account::Right};
use millrace_proto::v1::{
    Event, PublishRequest, PublishResult, PublishStreamRequest, publish_result::Outcome,
    publish_service_client::PublishServiceClient,
};
use millrace_tests::{
    Answer, Kind, Member, Mode, Options, Publisher, Stack, TYPE, authorized, channel, cloud_event,
    event,
};
use serde_json::json;
use tonic::{Code, Request, Status, transport::Channel};

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Nobody,
    WrongSecret,
    Platform,
    Token,
    SecondaryToken,
    Key(KeyAccess),
    SubaccountToken,
    SuspendedToken,
    ChildOfSuspended,
    ClosedToken,
}

const ROLES: [Role; 13] = [
    Role::Nobody,
    Role::WrongSecret,
    Role::Platform,
    Role::Token,
    Role::SecondaryToken,
    Role::Key(KeyAccess::Main),
    Role::Key(KeyAccess::Standard),
    Role::Key(KeyAccess::ReadOnly),
    Role::Key(KeyAccess::PublishOnly),
    Role::SubaccountToken,
    Role::SuspendedToken,
    Role::ChildOfSuspended,
    Role::ClosedToken,
];

/// Whose the event says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// It says nothing.
    Unnamed,
    Parent,
    Subaccount,
    Stranger,
    Suspended,
    ChildOfSuspended,
    Closed,
    /// An account that nobody has.
    Unknown,
    /// What is no SID.
    Nonsense,
}

const TARGETS: [Target; 9] = [
    Target::Unnamed,
    Target::Parent,
    Target::Subaccount,
    Target::Stranger,
    Target::Suspended,
    Target::ChildOfSuspended,
    Target::Closed,
    Target::Unknown,
    Target::Nonsense,
];

/// How it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    Publish,
    PublishStream,
    Http,
    HttpBinary,
}

const FACES: [Face; 4] = [Face::Publish, Face::PublishStream, Face::Http, Face::HttpBinary];

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Accepted,
    /// The request is refused: nobody is known by these credentials.
    Unauthenticated,
    /// The request is refused: who asks publishes nothing.
    Denied,
    /// The event is refused, for the account it names, in these words.
    Refused(String),
}

/// The accounts there are.
struct Accounts {
    parent: Member,
    second: Member,
    keys: Vec<(KeyAccess, String)>,
    child: Member,
    stranger: Member,
    suspended: Member,
    child_of_suspended: Member,
    closed: Member,
}

impl Accounts {
    async fn new(stack: &Stack) -> Self {
        let parent = Member::first(stack);
        let mut keys = Vec::new();
        for access in KeyAccess::ALL {
            keys.push((access, parent.key(stack, access.as_str()).await));
        }
        let suspended = Member::standalone(stack).await;
        let accounts = Self {
            second: parent.second(stack).await,
            keys,
            child: parent.subaccount(stack).await,
            stranger: Member::standalone(stack).await,
            child_of_suspended: suspended.subaccount(stack).await,
            closed: Member::standalone(stack).await,
            suspended,
            parent,
        };
        accounts.suspended.turn(stack, "suspended").await;
        accounts.closed.turn(stack, "closed").await;
        accounts
    }

    fn authorization(&self, stack: &Stack, role: Role) -> Option<String> {
        let known = match role {
            Role::Nobody => return None,
            Role::Platform => return Some(stack.identity.bearer()),
            Role::Key(access) => {
                let key = self.keys.iter().find(|(of, _)| *of == access);
                return key.map(|(_, authorization)| authorization.clone());
            }
            Role::WrongSecret => &Member { auth_token: "wrong".to_owned(), ..self.parent.clone() },
            Role::Token => &self.parent,
            Role::SecondaryToken => &self.second,
            Role::SubaccountToken => &self.child,
            Role::SuspendedToken => &self.suspended,
            Role::ChildOfSuspended => &self.child_of_suspended,
            Role::ClosedToken => &self.closed,
        };
        Some(known.basic())
    }

    fn named(&self, target: Target) -> Option<&str> {
        Some(match target {
            Target::Unnamed => return None,
            Target::Parent => &self.parent.sid,
            Target::Subaccount => &self.child.sid,
            Target::Stranger => &self.stranger.sid,
            Target::Suspended => &self.suspended.sid,
            Target::ChildOfSuspended => &self.child_of_suspended.sid,
            Target::Closed => &self.closed.sid,
            Target::Unknown => "AC99999999999999999999999999999999",
            Target::Nonsense => "AC1",
        })
    }
}

/// The rule. In words, where an event is refused for its account.
fn expected(role: Role, target: Target) -> Result<(), Result<&'static str, Told>> {
    let own = match role {
        Role::Nobody | Role::WrongSecret => return Err(Err(Told::Unauthenticated)),
        Role::SuspendedToken | Role::ChildOfSuspended | Role::ClosedToken => {
            return Err(Err(Told::Denied));
        }
        Role::Key(access) if !access.may(Right::Publish) => return Err(Err(Told::Denied)),
        Role::Platform => {
            return match target {
                Target::Parent | Target::Subaccount | Target::Stranger => Ok(()),
                Target::Suspended | Target::ChildOfSuspended => Err(Ok("is suspended")),
                Target::Closed => Err(Ok("is closed")),
                Target::Unknown => Err(Ok("is no account")),
                Target::Unnamed => Err(Ok("is required")),
                Target::Nonsense => Err(Ok("")),
            };
        }
        Role::SubaccountToken => Target::Subaccount,
        Role::Token | Role::SecondaryToken | Role::Key(_) => Target::Parent,
    };
    match target {
        Target::Nonsense => Err(Ok("")),
        target if target == own || target == Target::Unnamed => Ok(()),
        // A subaccount's, a parent's, a stranger's, nobody's: told alike.
        _ => Err(Ok("must be the caller's own account")),
    }
}

#[tokio::test]
async fn everybody_publishes_for_whom_the_rule_says_and_nobody_else_embedded() {
    everybody_publishes_for_whom_the_rule_says_and_nobody_else(Mode::Embedded).await;
}

#[tokio::test]
async fn everybody_publishes_for_whom_the_rule_says_and_nobody_else_on_servers() {
    everybody_publishes_for_whom_the_rule_says_and_nobody_else(Mode::Servers).await;
}

async fn everybody_publishes_for_whom_the_rule_says_and_nobody_else(mode: Mode) {
    let stack = Stack::start(mode, Options::default()).await;
    let accounts = Accounts::new(&stack).await;
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for role in ROLES {
        let asker = Asker::new(&stack, accounts.authorization(&stack, role));
        for face in FACES {
            for target in TARGETS {
                let told = asker.ask(face, accounts.named(target)).await;
                let right = match (expected(role, target), &told) {
                    (Ok(()), told) => *told == Told::Accepted,
                    (Err(Ok(words)), Told::Refused(message)) => message.starts_with(words),
                    (Err(Ok(_)), _) => false,
                    (Err(Err(expected)), told) => *told == expected,
                };
                if !right {
                    let expected = expected(role, target);
                    wrong.push(format!("{role:?} {face:?} {target:?}: {expected:?}, not {told:?}"));
                }
                checked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(checked, ROLES.len() * FACES.len() * TARGETS.len());
}

/// Somebody at the router.
struct Asker {
    grpc: PublishServiceClient<Channel>,
    http: Publisher,
    authorization: Option<String>,
}

impl Asker {
    fn new(stack: &Stack, authorization: Option<String>) -> Self {
        let url = stack.url(Kind::Router(0));
        // Without credentials there is no header.
        let http = authorization.as_ref().map(|authorization| Publisher::new(&url, authorization));
        let http = http.unwrap_or_else(|| Publisher::anonymous(&url));
        Self { grpc: PublishServiceClient::new(channel(&url)), http, authorization }
    }

    /// Publishes an event that says it is of `account`.
    async fn ask(&self, face: Face, account: Option<&str>) -> Told {
        let account_sid = account.unwrap_or_default().to_owned();
        let events = vec![Event { account_sid, ..event("of-somebody") }];
        match face {
            Face::Publish => {
                let request = self.with(PublishRequest { events, deduplicate: false });
                let answer = self.grpc.clone().publish(request).await;
                of_grpc(answer.map(|answer| answer.into_inner().results))
            }
            Face::PublishStream => of_grpc(self.streamed(events).await),
            Face::Http => {
                let mut event = cloud_event(TYPE, "of-somebody");
                if let Some(account) = account {
                    event["accountsid"] = json!(account);
                }
                let headers = [("content-type", "application/json")];
                of_http(&self.http.post(&headers, event.to_string()).await)
            }
            Face::HttpBinary => {
                let mut headers = vec![("content-type", "application/json")];
                headers.extend([("ce-specversion", "1.0"), ("ce-id", "of-somebody")]);
                headers.extend([("ce-type", TYPE), ("ce-source", "/tests")]);
                headers.extend(account.map(|account| ("ce-accountsid", account)));
                let data = cloud_event(TYPE, "of-somebody")["data"].to_string();
                of_http(&self.http.post(&headers, data).await)
            }
        }
    }

    async fn streamed(&self, events: Vec<Event>) -> Result<Vec<PublishResult>, Status> {
        let batch = PublishStreamRequest { batch: 1, events, deduplicate: false };
        let batches = self.with(tokio_stream::iter([batch]));
        let mut answers = self.grpc.clone().publish_stream(batches).await?.into_inner();
        let answer = answers.message().await?.expect("the batch is answered");
        Ok(answer.results)
    }

    fn with<T>(&self, message: T) -> Request<T> {
        match &self.authorization {
            Some(authorization) => authorized(message, authorization),
            None => Request::new(message),
        }
    }
}

fn of_grpc(told: Result<Vec<PublishResult>, Status>) -> Told {
    match told {
        Ok(results) => match results[0].outcome.clone().expect("an outcome") {
            Outcome::Accepted(_) => Told::Accepted,
            Outcome::Rejected(rejected) => {
                assert_eq!(rejected.field, "account_sid", "{rejected:?}");
                Told::Refused(rejected.message)
            }
            Outcome::Duplicate(_) => panic!("nobody asked for that"),
        },
        Err(status) if status.code() == Code::Unauthenticated => Told::Unauthenticated,
        Err(status) if status.code() == Code::PermissionDenied => Told::Denied,
        Err(status) => panic!("{status}"),
    }
}

fn of_http(answer: &Answer) -> Told {
    let result = &answer.body["results"][0];
    match answer.status {
        202 => Told::Accepted,
        401 => Told::Unauthenticated,
        403 => Told::Denied,
        400 if result["field"] == "accountsid" => {
            Told::Refused(result["message"].as_str().expect("words").to_owned())
        }
        _ => panic!("{answer:?}"),
    }
}
