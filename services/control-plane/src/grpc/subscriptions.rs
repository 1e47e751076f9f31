//! `millrace.v1.SubscriptionService`.

use std::mem;

use millrace_domain::{Subscription, SubscriptionSid, SubscriptionUpdate};
use millrace_proto::v1::{self, subscription_service_server::SubscriptionService};
use millrace_store::Resource;
use tonic::{Request, Response, Status};

use super::{Asked, Face, committed, once::Named, optional_sid, required, scope, sid};
use crate::{
    auth::Caller,
    status::{Failure, code},
    subscriptions::{NewSubscription, Wanted},
};

/// How gRPC spells REST's fields.
const NAMES: [(&str, &str); 4] = [
    ("IncludeSubaccounts", "subscription.include_subaccounts"),
    ("Description", "subscription.description"),
    ("SinkSid", "subscription.sink_sid"),
    ("Types", "subscription.types"),
];

#[tonic::async_trait]
impl SubscriptionService for Face {
    async fn create_subscription(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Status> {
        self.within(request, |caller, mut request| async move {
            let id = mem::take(&mut request.request_id);
            let named = Named::of(caller, id, ("CreateSubscription", &request))?;
            let render = |made: &Resource| match made {
                Resource::Subscription(subscription) => Some(answer(subscription)),
                _ => None,
            };
            self.once(named, render, self.create(caller, request)).await
        })
        .await
    }

    async fn get_subscription(
        &self,
        request: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        self.within(request, |caller, request| async move {
            let fetched = self.app.subscriptions.fetch(caller, sid("sid", &request.sid)?).await?;
            let subscription = Some((&fetched).into());
            Ok(Response::new(v1::GetSubscriptionResponse { subscription }))
        })
        .await
    }

    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        self.within(request, |caller, request| async move {
            let named = optional_sid("account_sid", &request.account_sid)?;
            let account = caller.account("account_sid", named)?;
            let sink = optional_sid("sink_sid", &request.sink_sid)?;
            let rest = v1::ListSubscriptionsRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.clone()
            };
            let scope = scope("subscriptions", Some(account), &rest);
            let asked =
                Asked::<SubscriptionSid>::read(scope, request.page_size, &request.page_token)?;
            let list = self.app.subscriptions.list(account, sink, asked.after, asked.size + 1);
            let mut listed = list.await?;
            let next_page_token = asked.next(&mut listed, |row: &Subscription| row.sid);
            let subscriptions = listed.iter().map(Into::into).collect();
            Ok(Response::new(v1::ListSubscriptionsResponse { subscriptions, next_page_token }))
        })
        .await
    }

    async fn update_subscription(
        &self,
        request: Request<v1::UpdateSubscriptionRequest>,
    ) -> Result<Response<v1::UpdateSubscriptionResponse>, Status> {
        self.within(request, |caller, request| async move {
            let asked = required("subscription", request.subscription)?;
            let sid = sid("subscription.sid", &asked.sid)?;
            let update = update(&asked, request.update_mask.as_ref())?;
            let updated = self.app.subscriptions.update(caller, sid, &update).await;
            let done = updated.map_err(|failure| failure.spelt(&NAMES))?;
            Ok(committed(done, |subscription| v1::UpdateSubscriptionResponse {
                subscription: Some((&subscription).into()),
            }))
        })
        .await
    }

    async fn delete_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        self.within(request, |caller, request| async move {
            let done = self.app.subscriptions.delete(caller, sid("sid", &request.sid)?).await?;
            Ok(committed(done, |()| v1::DeleteSubscriptionResponse {}))
        })
        .await
    }

    async fn add_subscribed_event(
        &self,
        request: Request<v1::AddSubscribedEventRequest>,
    ) -> Result<Response<v1::AddSubscribedEventResponse>, Status> {
        self.within(request, |caller, mut request| async move {
            let id = mem::take(&mut request.request_id);
            let named = Named::of(caller, id, ("AddSubscribedEvent", &request))?;
            let sid = sid("subscription_sid", &request.subscription_sid)?;
            let wanted = of_request(request.subscribed_event)?;
            let added = wanted.event_type.clone();
            let render = move |made: &Resource| match made {
                Resource::Subscription(subscription) => {
                    let mut types = subscription.types.iter();
                    types.find(|event| event.event_type == added).map(|event| {
                        v1::AddSubscribedEventResponse { subscribed_event: Some(event.into()) }
                    })
                }
                _ => None,
            };
            let work = async {
                let done = self.app.subscriptions.add(caller, sid, &wanted).await?;
                Ok(committed(done, |event| v1::AddSubscribedEventResponse {
                    subscribed_event: Some((&event).into()),
                }))
            };
            self.once(named, render, work).await
        })
        .await
    }

    async fn update_subscribed_event(
        &self,
        request: Request<v1::UpdateSubscribedEventRequest>,
    ) -> Result<Response<v1::UpdateSubscribedEventResponse>, Status> {
        self.within(request, |caller, request| async move {
            let sid = sid("subscription_sid", &request.subscription_sid)?;
            let wanted = of_request(request.subscribed_event)?;
            let done = self.app.subscriptions.pin(caller, sid, &wanted).await?;
            Ok(committed(done, |event| v1::UpdateSubscribedEventResponse {
                subscribed_event: Some((&event).into()),
            }))
        })
        .await
    }

    async fn remove_subscribed_event(
        &self,
        request: Request<v1::RemoveSubscribedEventRequest>,
    ) -> Result<Response<v1::RemoveSubscribedEventResponse>, Status> {
        self.within(request, |caller, request| async move {
            let sid = sid("subscription_sid", &request.subscription_sid)?;
            let done = self.app.subscriptions.remove(caller, sid, &request.r#type).await?;
            Ok(committed(done, |()| v1::RemoveSubscribedEventResponse {}))
        })
        .await
    }
}

impl Face {
    async fn create(
        &self,
        caller: Caller,
        request: v1::CreateSubscriptionRequest,
    ) -> Result<Response<v1::CreateSubscriptionResponse>, Failure> {
        let asked = required("subscription", request.subscription)?;
        if let Some(named) = optional_sid("subscription.account_sid", &asked.account_sid)? {
            caller.account("subscription.account_sid", Some(named))?;
        }
        let place = |at: usize| format!("subscription.types[{at}]");
        let types = asked.types.into_iter().enumerate();
        let new = NewSubscription {
            description: asked.description,
            sink: sid("subscription.sink_sid", &asked.sink_sid)?,
            types: types.map(|(at, event)| wanted(&place(at), event)).collect(),
            include_subaccounts: asked.include_subaccounts,
        };
        let created = self.app.subscriptions.create(caller, new).await;
        let done = created.map_err(|failure| failure.spelt(&NAMES))?;
        Ok(committed(done, |subscription| answer(&subscription)))
    }
}

fn answer(subscription: &Subscription) -> v1::CreateSubscriptionResponse {
    v1::CreateSubscriptionResponse { subscription: Some(subscription.into()) }
}

fn of_request(event: Option<v1::SubscribedEvent>) -> Result<Wanted, Failure> {
    Ok(wanted("subscribed_event", required("subscribed_event", event)?))
}

fn wanted(place: &str, event: v1::SubscribedEvent) -> Wanted {
    Wanted {
        event_type: event.r#type,
        schema_version: Some(event.schema_version).filter(|version| *version > 0),
        type_field: format!("{place}.type"),
        version_field: format!("{place}.schema_version"),
    }
}

/// What a mask names of a subscription; an empty one means the description.
fn update(
    asked: &v1::Subscription,
    mask: Option<&prost_types::FieldMask>,
) -> Result<SubscriptionUpdate, Failure> {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    let mut update = SubscriptionUpdate::default();
    if paths.is_empty() {
        update.description = Some(asked.description.clone());
    }
    for path in paths {
        match path.as_str() {
            "description" => update.description = Some(asked.description.clone()),
            "include_subaccounts" => update.include_subaccounts = Some(asked.include_subaccounts),
            _ => {
                let message = format!(
                    "only `description` and `include_subaccounts` can be changed, not `{path}`"
                );
                return Err(Failure::invalid(code::BAD_REQUEST, "update_mask", message));
            }
        }
    }
    Ok(update)
}
