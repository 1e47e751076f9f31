"""Manages accounts, sinks and subscriptions by Twilio's own SDK, and stops at the first answer that is not as it should be."""

import json
import sys

from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

SENT = "com.twilio.messaging.message.sent"
DELIVERED = "com.twilio.messaging.message.delivered"
WEBHOOK = {"destination": "http://127.0.0.1:9/hook", "method": "POST", "batch_events": True}


def client_of(url, account_sid, auth_token):
    client = Client(account_sid, auth_token)
    for product in [client.events, client.api, client.accounts]:
        product.base_url = url
    return client


def refused(status, code, call):
    try:
        answer = call()
    except TwilioRestException as error:
        assert (error.status, error.code) == (status, code), f"{error.status} {error.code}: {error.msg}"
        return error.msg
    raise AssertionError(f"not refused: {answer}")


def sinks(events):
    sink = events.sinks.create(description="mine", sink_configuration=WEBHOOK, sink_type="webhook")
    assert sink.sid.startswith("DG") and len(sink.sid) == 34, sink.sid
    assert sink.sink_configuration == WEBHOOK, sink.sink_configuration
    assert (sink.description, sink.sink_type, sink.status) == ("mine", "webhook", "active")
    assert sink.date_created and sink.date_created == sink.date_updated
    assert sink.links["sink_test"] == sink.url + "/Test", sink.links

    assert events.sinks(sink.sid).fetch().url == sink.url
    assert events.sinks(sink.sid).update(description="yours").description == "yours"
    assert events.sinks(sink.sid).fetch().description == "yours"
    result = events.sinks(sink.sid).sink_validate.create(test_id="95001c1e-5b8e-45f5-830d-f9cbf1d16420")
    assert result.result == "valid", result.result

    get = {"destination": "http://127.0.0.1:9/get", "method": "GET", "batch_events": False}
    other = events.sinks.create(description="g", sink_configuration=get, sink_type="webhook")
    assert other.sink_configuration == get, other.sink_configuration
    third = events.sinks.create(description="t", sink_configuration=WEBHOOK, sink_type="webhook")

    made = [sink.sid, other.sid, third.sid]
    assert [it.sid for it in events.sinks.list()] == made
    assert [it.sid for it in events.sinks.list(in_use=True)] == []
    assert [it.sid for it in events.sinks.list(in_use=False, status="active")] == made
    assert events.sinks(other.sid).delete() and events.sinks(third.sid).delete()
    refused(404, 91001, lambda: events.sinks(third.sid).fetch())
    refused(404, 91001, lambda: events.sinks(third.sid).delete())
    return sink


def sink_pages(events):
    created = [
        events.sinks.create(description=f"page {n}", sink_configuration=WEBHOOK, sink_type="webhook").sid
        for n in range(250)
    ]
    before = len(events.sinks.list()) - len(created)
    for size in [None, 7, 100, 1000]:
        listed = [it.sid for it in events.sinks.list(page_size=size)]
        assert listed[before:] == created and len(listed) == len(set(listed)), listed
    assert [it.sid for it in events.sinks.list(limit=130)] == listed[:130]
    assert [it.sid for it in events.sinks.list(limit=5, page_size=2)] == listed[:5]
    page = events.sinks.page(page_size=30)
    first = [it.sid for it in page]
    second = page.next_page()
    assert [it.sid for it in second] == listed[30:60]
    assert [it.sid for it in second.previous_page()] == first == listed[:30]
    try:
        events.sinks.page(page_size=1001)
    except TwilioException as error:
        assert "20007" in str(error), error
    else:
        raise AssertionError("a page of 1,001 is not refused")
    for sid in created:
        assert events.sinks(sid).delete()


def subscriptions(events, sink):
    types = [{"type": SENT, "schema_version": 3}, {"type": DELIVERED}]
    subscription = events.subscriptions.create(description="sub", sink_sid=sink.sid, types=types)
    assert subscription.sid.startswith("DF") and len(subscription.sid) == 34
    assert (subscription.description, subscription.sink_sid) == ("sub", sink.sid)
    assert subscription.account_sid.startswith("AC")
    assert events.subscriptions(subscription.sid).fetch().date_created == subscription.date_created
    assert events.subscriptions(subscription.sid).update(description="bus").description == "bus"
    assert [it.sid for it in events.sinks.list(in_use=True)] == [sink.sid]

    others = [
        events.subscriptions.create(description=f"{n}", sink_sid=sink.sid, types=[{"type": SENT}]).sid
        for n in range(5)
    ]
    listed = [it.sid for it in events.subscriptions.list(sink_sid=sink.sid, page_size=2)]
    assert listed == [subscription.sid] + others, listed
    for sid in others:
        assert events.subscriptions(sid).delete()
    return subscription


def subscribed_events(events, subscription):
    subscribed = events.subscriptions(subscription.sid).subscribed_events
    versions = {it.type: it.schema_version for it in subscribed.list(page_size=1)}
    latest = events.schemas("Messaging.MessageStatus").fetch().latest_version
    assert versions == {SENT: 3, DELIVERED: latest}, versions
    inbound = "com.twilio.messaging.inbound-message.received"
    added = subscribed.create(type=inbound, schema_version=2)
    assert (added.type, added.schema_version, added.subscription_sid) == (inbound, 2, subscription.sid)
    one = events.subscriptions(subscription.sid).subscribed_events(inbound)
    assert one.fetch().schema_version == 2
    assert one.update(schema_version=4).schema_version == 4
    assert one.fetch().schema_version == 4
    assert one.delete()
    refused(404, 91104, one.fetch)
    assert {it.type for it in subscribed.list()} == {SENT, DELIVERED}


def catalogue(events):
    types = events.event_types.list(page_size=50)
    names = [it.type for it in types]
    assert len(names) > 100 and len(set(names)) == len(names), len(names)
    sent = events.event_types(SENT).fetch()
    assert (sent.schema_id, sent.status) == ("Messaging.MessageStatus", "available")
    assert sent.links["schema"].endswith("/v1/Schemas/Messaging.MessageStatus/Versions")
    of_schema = {it.type for it in events.event_types.list(schema_id="Messaging.MessageStatus")}
    assert SENT in of_schema and DELIVERED in of_schema and len(of_schema) < len(names)

    schema = events.schemas("Messaging.MessageStatus").fetch()
    assert (schema.id, schema.latest_version) == ("Messaging.MessageStatus", 8)
    versions = events.schemas("Messaging.MessageStatus").versions.list(page_size=3)
    assert [it.schema_version for it in versions] == list(range(1, 9))
    version = events.schemas("Messaging.MessageStatus").versions(2).fetch()
    assert version.schema_version == 2 and version.raw.startswith("http"), version.raw


def errors(url, account_sid, auth_token, events, sink):
    refused(400, 91006, lambda: events.sinks("DG1").fetch())
    refused(404, 91001, lambda: events.sinks("DG" + "0" * 32).fetch())
    refused(404, 91102, lambda: events.subscriptions("DF" + "0" * 32).fetch())
    refused(404, 91202, lambda: events.event_types("com.example.unknown").fetch())
    refused(404, 91202, lambda: events.schemas("No.Such").fetch())
    message = refused(400, 91000, lambda: events.sinks.create(
        description="d", sink_configuration={"destination": "http://10.0.0.1/", "method": "POST"}, sink_type="webhook"))
    assert "SinkConfiguration.destination" in message, message
    refused(400, 91103, lambda: events.subscriptions.create(description="d", sink_sid=sink.sid, types=[]))
    refused(400, 91104, lambda: events.subscriptions.create(
        description="d", sink_sid=sink.sid, types=[{"type": "com.example.unknown"}]))
    refused(401, 20003, lambda: client_of(url, account_sid, "wrong").events.v1.sinks(sink.sid).fetch())
    refused(401, 20003, lambda: client_of(url, "AC" + "9" * 32, auth_token).events.v1.sinks(sink.sid).fetch())


def subaccounts(url, client):
    api = client.api.v2010
    own = api.accounts(client.account_sid).fetch()
    assert (own.sid, own.owner_account_sid, own.status) == (client.account_sid, client.account_sid, "active")
    child = api.accounts.create(friendly_name="child")
    assert child.sid.startswith("AC") and len(child.sid) == 34 and len(child.auth_token) == 32, child.sid
    assert (child.owner_account_sid, child.friendly_name, child.type) == (own.sid, "child", "Full")
    assert child.date_created and child.date_created == child.date_updated and child.date_created.tzinfo
    assert child.subresource_uris["keys"] == child.uri.replace(".json", "/Keys.json"), child.subresource_uris
    made = [child.sid] + [api.accounts.create(friendly_name=f"child {n}").sid for n in range(4)]
    for size in [None, 1, 2, 1000]:
        assert [it.sid for it in api.accounts.list(page_size=size)] == sorted([own.sid] + made)
    assert [it.sid for it in api.accounts.list(limit=3)] == sorted([own.sid] + made)[:3]
    assert [it.sid for it in api.accounts.list(friendly_name="child 2")] == [made[3]]
    second = api.accounts.page(page_size=2).next_page()
    assert [it.sid for it in second] == sorted([own.sid] + made)[2:4]
    renamed = api.accounts(child.sid).update(friendly_name="renamed")
    assert (renamed.friendly_name, renamed.status, renamed.auth_token) == ("renamed", "active", child.auth_token)
    assert api.accounts(child.sid).fetch().friendly_name == "renamed"
    refused(404, 20404, lambda: api.accounts("AC" + "9" * 32).fetch())
    refused(400, 20001, lambda: api.accounts(child.sid).update(status="gone"))

    theirs = client_of(url, child.sid, child.auth_token)
    assert [it.sid for it in theirs.api.v2010.accounts.list()] == [child.sid]
    for other in [own.sid, made[1]]:
        refused(404, 20404, lambda: theirs.api.v2010.accounts(other).fetch())
        refused(404, 20404, lambda: theirs.api.v2010.accounts(other).update(friendly_name="mine"))
    refused(403, 20006, lambda: theirs.api.v2010.accounts.create(friendly_name="grandchild"))
    refused(403, 20006, lambda: theirs.api.v2010.accounts(child.sid).update(status="closed"))
    sink = theirs.events.v1.sinks.create(description="theirs", sink_configuration=WEBHOOK, sink_type="webhook")
    refused(404, 91001, lambda: client.events.v1.sinks(sink.sid).fetch())
    for sid in made[1:]:
        assert api.accounts(sid).update(status="closed").status == "closed"
    return theirs, sink


def keys(url, client, child_sid):
    of_child = client.api.v2010.accounts(child_sid)
    made = of_child.new_keys.create(friendly_name="first")
    assert made.sid.startswith("SK") and made.friendly_name == "first" and made.date_created == made.date_updated
    by_key = client_of(url, made.sid, made.secret)
    assert len(by_key.events.v1.sinks.list()) == 1
    refused(403, 20006, lambda: by_key.api.v2010.accounts(child_sid).fetch())
    fetched = of_child.keys(made.sid).fetch()
    assert (fetched.friendly_name, fetched.date_created) == ("first", made.date_created)
    assert not hasattr(fetched, "secret")
    assert of_child.keys(made.sid).update(friendly_name="last").friendly_name == "last"
    others = [of_child.new_keys.create(friendly_name=f"{n}").sid for n in range(4)]
    assert [it.sid for it in of_child.keys.list(page_size=2)] == [made.sid] + others
    refused(404, 20404, lambda: client.api.v2010.accounts(client.account_sid).keys(made.sid).fetch())
    for sid in [made.sid] + others:
        assert of_child.keys(sid).delete()
    refused(404, 20404, lambda: of_child.keys(made.sid).fetch())
    refused(401, 20003, lambda: by_key.events.v1.sinks("DG" + "0" * 32).fetch())

    # What a key may do is a parameter of Millrace's own, for which the SDK has no method.
    path = f"{url}/2010-04-01/Accounts/{child_sid}/Keys.json"
    for access, may in [("read-only", 404), ("publish-only", 403)]:
        answer = client.request("POST", path, data={"FriendlyName": access, "Access": access}, auth=client.auth)
        made = json.loads(answer.text)
        assert (answer.status_code, made["access"]) == (201, access), answer.text
        restricted = client_of(url, made["sid"], made["secret"]).events.v1
        refused(may, 91001 if may == 404 else 20006, lambda: restricted.sinks("DG" + "0" * 32).fetch())
        refused(403, 20006, lambda: restricted.sinks.create(
            description="d", sink_configuration=WEBHOOK, sink_type="webhook"))


def rotation(url, theirs, sink):
    tokens = theirs.accounts.v1
    refused(404, 20404, lambda: tokens.auth_token_promotion().update())
    assert tokens.secondary_auth_token().create().account_sid == theirs.account_sid
    assert tokens.secondary_auth_token().delete()
    refused(404, 20404, lambda: tokens.secondary_auth_token().delete())
    second = tokens.secondary_auth_token().create()
    assert second.url.endswith("/v1/AuthTokens/Secondary") and second.date_created == second.date_updated
    refused(409, 20409, lambda: tokens.secondary_auth_token().create())
    by_second = client_of(url, theirs.account_sid, second.secondary_auth_token)
    for client in [theirs, by_second]:
        assert client.events.v1.sinks(sink.sid).fetch().sid == sink.sid
    promoted = by_second.accounts.v1.auth_token_promotion().update()
    assert promoted.auth_token == second.secondary_auth_token
    assert by_second.events.v1.sinks(sink.sid).fetch().sid == sink.sid
    refused(401, 20003, lambda: theirs.events.v1.sinks(sink.sid).fetch())
    return by_second


def statuses(client, theirs, sink):
    child = client.api.v2010.accounts(theirs.account_sid)
    assert child.update(status="suspended").status == "suspended"
    refused(403, 20005, lambda: theirs.events.v1.sinks(sink.sid).fetch())
    suspended = client.api.v2010.accounts.list(status="suspended")
    assert [it.sid for it in suspended] == [theirs.account_sid]
    assert child.update(status="active").status == "active"
    assert theirs.events.v1.sinks(sink.sid).fetch().sid == sink.sid
    assert child.update(status="closed").status == "closed"
    refused(403, 20005, lambda: theirs.events.v1.sinks(sink.sid).fetch())
    refused(403, 20005, lambda: child.update(status="active"))
    assert child.fetch().status == "closed"
    assert [it.sid for it in client.api.v2010.accounts.list(status="active")] == [client.account_sid]


def main(url, account_sid, auth_token):
    client = client_of(url, account_sid, auth_token)
    theirs, their_sink = subaccounts(url, client)
    keys(url, client, theirs.account_sid)
    theirs = rotation(url, theirs, their_sink)
    statuses(client, theirs, their_sink)
    events = client.events.v1
    sink = sinks(events)
    sink_pages(events)
    subscription = subscriptions(events, sink)
    subscribed_events(events, subscription)
    catalogue(events)
    errors(url, account_sid, auth_token, events, sink)
    refused(400, 91007, lambda: events.sinks(sink.sid).delete())
    assert events.subscriptions(subscription.sid).delete()
    refused(404, 91102, lambda: events.subscriptions(subscription.sid).fetch())
    assert events.sinks(sink.sid).delete()
    assert events.sinks.list() == [] and events.subscriptions.list() == []
    print("all as expected")


if __name__ == "__main__":
    main(*sys.argv[1:])
