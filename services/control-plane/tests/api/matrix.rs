//! Who may do what: every operation of both faces, asked by everybody, about their own and about others' resources. What is
//! right is worked out from a rule; the operations are those of the table that the service itself goes by, and that is held
//! against the description of REST and the descriptors of gRPC.

use std::collections::BTreeSet;

use millrace_control_plane::operations::{GRPC, REST, Takes};
use millrace_domain::{KeyAccess, account::Right};
use millrace_proto::DESCRIPTORS;
use prost::Message;
use prost_types::FileDescriptorSet;

use self::{
    ask::{Asker, Operation},
    family::{Family, State},
};
use crate::{contract::OURS, harness::start_with};

mod ask;
mod family;
mod request;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Nobody,
    WrongSecret,
    Platform,
    Token,
    SecondaryToken,
    Key(KeyAccess),
    SubaccountToken,
    SuspendedToken,
    ClosedToken,
    ChildOfSuspended,
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
    Role::ClosedToken,
    Role::ChildOfSuspended,
];

/// Whose resources are asked for, as the caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Own,
    Subaccount,
    Parent,
    Stranger,
}

/// How a request says what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// By the SID of a resource.
    Resource,
    /// It is about the catalogue, which is everybody's.
    Catalogue,
    /// By the account that the caller acts for.
    Account,
    /// By the SID of an account, or of one of its keys, that the caller manages.
    Family,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody is in its way: it is done, or refused for what it says.
    Allowed,
    Unauthenticated,
    Denied,
    Inactive,
    NotFound,
}

impl Role {
    fn access(self) -> KeyAccess {
        match self {
            Self::Key(access) => access,
            _ => KeyAccess::Main,
        }
    }

    fn targets(self) -> &'static [Target] {
        match self {
            Self::SubaccountToken | Self::ChildOfSuspended => {
                &[Target::Own, Target::Parent, Target::Stranger]
            }
            _ => &[Target::Own, Target::Subaccount, Target::Stranger],
        }
    }

    fn state(self) -> State {
        match self {
            Self::SuspendedToken | Self::ChildOfSuspended => State::Suspended,
            Self::ClosedToken => State::Closed,
            _ => State::Active,
        }
    }
}

/// The rule.
fn expected(role: Role, operation: &Operation, target: Target) -> Outcome {
    if operation.takes == Takes::Nothing {
        return Outcome::Allowed;
    }
    // There are two levels of accounts; over REST, the platform acts as the account that it names.
    let by_subaccount = match role {
        Role::Platform => target == Target::Subaccount && !operation.method.is_empty(),
        role => role == Role::SubaccountToken,
    };
    if operation.makes_accounts() && by_subaccount {
        return Outcome::Denied;
    }
    match role {
        Role::Nobody | Role::WrongSecret => return Outcome::Unauthenticated,
        Role::SuspendedToken | Role::ClosedToken | Role::ChildOfSuspended => {
            return Outcome::Inactive;
        }
        Role::Platform => return Outcome::Allowed,
        _ => {}
    }
    let Takes::Right(right) = operation.takes else { return Outcome::Denied };
    if !role.access().may(right) {
        return Outcome::Denied;
    }
    match (operation.about(), target) {
        (About::Catalogue, _) | (_, Target::Own) | (About::Family, Target::Subaccount) => {
            Outcome::Allowed
        }
        // A parent asks what its own subscriptions make of a subaccount's event.
        (About::Account, Target::Subaccount) if operation.is_about_events() => Outcome::Allowed,
        (About::Account, _) => Outcome::Denied,
        (About::Resource | About::Family, _) => Outcome::NotFound,
    }
}

async fn check(operations: Vec<Operation>) {
    let it = start_with(|settings| settings.limits.requests_per_second = 0).await;
    let asker = Asker::new(&it).await;
    let mut wrong = Vec::new();
    let mut checked = 0;
    for role in ROLES {
        let mut family = Family::new(&it, role.state()).await;
        for operation in &operations {
            for target in role.targets() {
                let right = expected(role, operation, *target);
                let (outcome, told) = asker.ask(role, operation, &family, *target).await;
                if outcome != right {
                    wrong.push(format!("{role:?} {operation:?} {target:?}: {right:?}, not {told}"));
                }
                if outcome == Outcome::Allowed && operation.changes() {
                    family = Family::new(&it, role.state()).await;
                }
                checked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(checked, operations.len() * ROLES.len() * 3);
}

#[tokio::test]
async fn everybody_may_do_over_rest_what_the_rule_says_and_nothing_else() {
    let rest = REST.iter().map(|(method, path, takes)| Operation::rest(method, path, *takes));
    check(rest.collect()).await;
}

#[tokio::test]
async fn everybody_may_do_over_grpc_what_the_rule_says_and_nothing_else() {
    let methods = GRPC.iter().filter(|(_, takes)| *takes != Takes::Internal);
    check(methods.map(|(path, takes)| Operation::grpc(path, *takes)).collect()).await;
}

#[test]
fn every_route_and_method_is_in_the_table() {
    let nameless = |path: &str| {
        let segment = |part: &str| if part.starts_with('{') { "{}" } else { part }.to_owned();
        path.split('/').map(segment).collect::<Vec<_>>().join("/")
    };
    let paths = OURS["paths"].as_object().expect("paths");
    // The router's, and what is for everybody.
    let others = ["/v1/Events", "/openapi.json", "/docs"];
    let documented = paths.iter().filter(|(path, _)| !others.contains(&path.as_str()));
    let documented: BTreeSet<_> = documented
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").keys();
            methods.map(move |method| format!("{} {}", method.to_uppercase(), nameless(path)))
        })
        .collect();
    let listed: BTreeSet<_> =
        REST.iter().map(|(method, path, _)| format!("{method} {}", nameless(path))).collect();
    assert_eq!(listed, documented);

    let descriptors = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
    // The router's, which `tests/e2e/publishing_rights.rs` asks, every one of these; and the deliverer's.
    let others = ["PublishService", "DeliveryService"];
    let publishing = descriptors.file.iter().flat_map(|file| &file.service);
    let publishing = publishing.filter(|service| service.name() == "PublishService");
    let publishing: Vec<_> =
        publishing.flat_map(|service| &service.method).map(|method| method.name()).collect();
    assert_eq!(publishing, ["Publish", "PublishStream"]);
    let mut methods = BTreeSet::new();
    for file in descriptors.file.iter().filter(|file| file.package().starts_with("millrace.")) {
        for service in file.service.iter().filter(|service| !others.contains(&service.name())) {
            let full = format!("/{}.{}", file.package(), service.name());
            methods.extend(service.method.iter().map(|m| format!("{full}/{}", m.name())));
        }
    }
    let listed: BTreeSet<_> = GRPC.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(listed, methods);
}

#[test]
fn what_only_looks_takes_no_right_to_change() {
    for (method, path, takes) in REST {
        // What an event would match is asked for with the event in a body.
        let looks = *method == "GET" || *path == "/v1/Events/Match";
        assert!(!looks || *takes != Takes::Right(Right::Write), "{path}");
        assert!(looks || *takes != Takes::Right(Right::Read), "{method} {path}");
    }
}
