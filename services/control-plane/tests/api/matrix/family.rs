//! An account with a subaccount, and a stranger; each has a sink, a subscription, keys of every access, and two tokens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use millrace_domain::{
    Account, AccountSid, AccountStatus, AccountUpdate, ApiKey, ApiKeySid, KeyAccess,
    SecondaryAuthToken, Secret, Sink, SinkConfiguration, SinkDelivery, SinkSid, SinkStatus,
    SubscribedEvent, Subscription, SubscriptionSid, Timestamp,
    sink::{Headers, WebhookMethod},
};
use millrace_store::{
    ResourceStore,
    audit::{Actor, acting_as},
};

use super::{Role, Target};
use crate::harness::{DELIVERED, Harness, PLATFORM_KEY, SENT, TOKEN, basic};

const SECOND_TOKEN: &str = "fedcba9876543210fedcba9876543210";
const SECRET: &str = "a-secret-of-a-key";
const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_678);

/// What the caller's account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Suspended,
    Closed,
}

/// One account and what it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) account: AccountSid,
    pub(crate) sink: SinkSid,
    pub(crate) subscription: SubscriptionSid,
    key: u128,
}

impl Member {
    /// A key of it.
    pub(crate) fn key(&self, access: KeyAccess) -> ApiKeySid {
        let place = KeyAccess::ALL.iter().position(|a| *a == access).expect("one of all");
        ApiKeySid::from_u128(self.key + place as u128)
    }
}

pub(crate) struct Family {
    parent: Member,
    child: Member,
    stranger: Member,
}

impl Family {
    pub(crate) async fn new(it: &Harness, state: State) -> Self {
        let store = &it.store;
        let making = async {
            let parent = member(store, None).await;
            let child = member(store, Some(parent.account)).await;
            let stranger = member(store, None).await;
            let status = match state {
                State::Active => return Self { parent, child, stranger },
                State::Suspended => AccountStatus::Suspended,
                State::Closed => AccountStatus::Closed,
            };
            let update = AccountUpdate { status: Some(status), ..AccountUpdate::default() };
            store.update_account(parent.account, &update, NOW).await.expect("is open");
            Self { parent, child, stranger }
        };
        acting_as(Actor::Process("test"), making).await
    }

    /// Whom `role` means by `target`.
    pub(crate) fn member(&self, role: Role, target: Target) -> &Member {
        let is_child = matches!(role, Role::SubaccountToken | Role::ChildOfSuspended);
        match target {
            Target::Own if is_child => &self.child,
            Target::Own | Target::Parent => &self.parent,
            Target::Subaccount => &self.child,
            Target::Stranger => &self.stranger,
        }
    }

    /// The `authorization` of `role`.
    pub(crate) fn authorization(&self, role: Role) -> Option<String> {
        let own = self.member(role, Target::Own);
        let by_token = |token| Some(basic(&own.account.to_string(), token));
        match role {
            Role::Nobody => None,
            Role::WrongSecret => by_token("wrong"),
            Role::Platform => Some(format!("Bearer {PLATFORM_KEY}")),
            Role::SecondaryToken => by_token(SECOND_TOKEN),
            Role::Key(access) => Some(basic(&own.key(access).to_string(), SECRET)),
            Role::Token
            | Role::SubaccountToken
            | Role::SuspendedToken
            | Role::ClosedToken
            | Role::ChildOfSuspended => by_token(TOKEN),
        }
    }
}

/// A number that nothing else has, with room for a few behind it.
fn fresh() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) * 1_000
}

async fn member(store: &Arc<dyn ResourceStore>, parent: Option<AccountSid>) -> Member {
    let id = fresh();
    let sid = AccountSid::from_u128(id);
    let account = Account {
        sid,
        parent,
        friendly_name: format!("member {id}"),
        status: AccountStatus::Active,
        auth_token: Secret::new(TOKEN),
        secondary_auth_token: Some(SecondaryAuthToken {
            token: Secret::new(SECOND_TOKEN),
            created: NOW,
        }),
        created: NOW,
        updated: NOW,
    };
    store.create_account(&account).await.expect("new");
    for (place, access) in (0..).zip(KeyAccess::ALL) {
        let key = ApiKey {
            sid: ApiKeySid::from_u128(id + place),
            account: sid,
            friendly_name: "key".to_owned(),
            secret_hash: Secret::new(SECRET).sha256(),
            access,
            created: NOW,
            updated: NOW,
        };
        store.create_api_key(&key, 10).await.expect("there is room");
    }
    let sink = sink(id, sid);
    store.create_sink(&sink, 10).await.expect("there is room");
    let subscribed =
        |event_type: &str| SubscribedEvent { event_type: event_type.to_owned(), schema_version: 1 };
    let subscription = Subscription {
        sid: SubscriptionSid::from_u128(id),
        account: sid,
        description: "subscription".to_owned(),
        sink: sink.sid,
        types: vec![subscribed(DELIVERED), subscribed(SENT)],
        include_subaccounts: false,
        created: NOW,
        updated: NOW,
    };
    store.create_subscription(&subscription, 10).await.expect("there is room");
    Member { account: sid, sink: sink.sid, subscription: subscription.sid, key: id }
}

fn sink(id: u128, account: AccountSid) -> Sink {
    Sink {
        sid: SinkSid::from_u128(id),
        account,
        description: "sink".to_owned(),
        configuration: SinkConfiguration::Webhook {
            destination: Secret::new("https://e.example/x"),
            method: WebhookMethod::Post,
            batch_events: true,
        },
        delivery: SinkDelivery::default(),
        headers: Headers::default(),
        status: SinkStatus::Active,
        signing_secret: Secret::new("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"),
        created: NOW,
        updated: NOW,
    }
}
