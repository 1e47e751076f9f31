// Manages accounts, sinks and subscriptions by Twilio's own SDK for Node, and stops at the first answer that is not as it should be.
"use strict";

const assert = require("node:assert/strict");
const twilio = require("twilio");

const SENT = "com.twilio.messaging.message.sent";
const DELIVERED = "com.twilio.messaging.message.delivered";
const WEBHOOK = { destination: "http://127.0.0.1:9/hook", method: "POST", batch_events: true };

function clientOf(url, accountSid, authToken) {
  const client = twilio(accountSid, authToken);
  for (const product of [client.events, client.api, client.accounts]) product.baseUrl = url;
  return client;
}

async function refused(status, code, call) {
  await assert.rejects(call, (error) => {
    assert.deepEqual([error.status, error.code], [status, code], error.message);
    assert.ok(error.moreInfo.startsWith("https://www.twilio.com/docs/errors/"), error.moreInfo);
    return true;
  });
}

const sids = (list) => list.map((it) => it.sid);

async function sinks(events) {
  const sink = await events.sinks.create({ description: "mine", sinkConfiguration: WEBHOOK, sinkType: "webhook" });
  assert.match(sink.sid, /^DG[0-9a-f]{32}$/);
  assert.deepEqual(sink.sinkConfiguration, WEBHOOK);
  assert.deepEqual([sink.description, sink.sinkType, sink.status], ["mine", "webhook", "active"]);
  assert.ok(sink.dateCreated instanceof Date && !Number.isNaN(sink.dateCreated.getTime()));
  assert.equal(sink.links.sink_test, sink.url + "/Test");
  assert.equal((await events.sinks(sink.sid).fetch()).url, sink.url);
  assert.equal((await events.sinks(sink.sid).update({ description: "yours" })).description, "yours");
  const valid = await events.sinks(sink.sid).sinkValidate.create({ testId: "95001c1e-5b8e-45f5-830d-f9cbf1d16420" });
  assert.equal(valid.result, "valid");
  assert.deepEqual(sids(await events.sinks.list({ inUse: false, status: "active" })), [sink.sid]);
  assert.deepEqual(await events.sinks.list({ inUse: true }), []);
  return sink;
}

async function sinkPages(events, sink) {
  const created = [];
  for (let n = 0; n < 250; n += 1) {
    const made = await events.sinks.create({ description: `page ${n}`, sinkConfiguration: WEBHOOK, sinkType: "webhook" });
    created.push(made.sid);
  }
  const all = [sink.sid, ...created];
  for (const options of [{}, { pageSize: 7 }, { pageSize: 100 }, { pageSize: 1000 }]) {
    assert.deepEqual(sids(await events.sinks.list(options)), all);
  }
  assert.deepEqual(sids(await events.sinks.list({ limit: 130 })), all.slice(0, 130));
  const first = await events.sinks.page({ pageSize: 30 });
  const second = await first.nextPage();
  assert.deepEqual(sids(second.instances), all.slice(30, 60));
  assert.deepEqual(sids((await second.previousPage()).instances), all.slice(0, 30));
  const streamed = [];
  await new Promise((resolve, reject) => {
    events.sinks.each({ pageSize: 100, callback: (it) => streamed.push(it.sid), done: (error) => (error ? reject(error) : resolve()) });
  });
  assert.deepEqual(streamed, all);
  for (const sid of created) assert.equal(await events.sinks(sid).remove(), true);
  await refused(404, 91001, () => events.sinks(created[0]).fetch());
}

async function subscriptions(events, sink) {
  const types = [{ type: SENT, schema_version: 3 }, { type: DELIVERED }];
  const subscription = await events.subscriptions.create({ description: "sub", sinkSid: sink.sid, types });
  assert.match(subscription.sid, /^DF[0-9a-f]{32}$/);
  assert.deepEqual([subscription.description, subscription.sinkSid], ["sub", sink.sid]);
  assert.equal((await events.subscriptions(subscription.sid).update({ description: "bus" })).description, "bus");
  assert.deepEqual(sids(await events.subscriptions.list({ sinkSid: sink.sid, pageSize: 1 })), [subscription.sid]);
  assert.deepEqual(sids(await events.sinks.list({ inUse: true })), [sink.sid]);

  const subscribed = events.subscriptions(subscription.sid).subscribedEvents;
  const latest = (await events.schemas("Messaging.MessageStatus").fetch()).latestVersion;
  const versions = (await subscribed.list({ pageSize: 1 })).map((it) => [it.type, it.schemaVersion]);
  assert.deepEqual(versions, [[DELIVERED, latest], [SENT, 3]]);
  const inbound = "com.twilio.messaging.inbound-message.received";
  assert.equal((await subscribed.create({ type: inbound, schemaVersion: 2 })).schemaVersion, 2);
  const one = events.subscriptions(subscription.sid).subscribedEvents(inbound);
  assert.equal((await one.update({ schemaVersion: 4 })).schemaVersion, 4);
  assert.equal((await one.fetch()).schemaVersion, 4);
  assert.equal(await one.remove(), true);
  await refused(404, 91104, () => one.fetch());
  return subscription;
}

async function catalogue(events) {
  const types = await events.eventTypes.list({ pageSize: 50 });
  assert.ok(types.length > 100 && new Set(types.map((it) => it.type)).size === types.length);
  const sent = await events.eventTypes(SENT).fetch();
  assert.deepEqual([sent.schemaId, sent.status], ["Messaging.MessageStatus", "available"]);
  const ofSchema = (await events.eventTypes.list({ schemaId: "Messaging.MessageStatus" })).map((it) => it.type);
  assert.ok(ofSchema.includes(SENT) && ofSchema.length < types.length);
  const versions = await events.schemas("Messaging.MessageStatus").versions.list({ pageSize: 3 });
  assert.deepEqual(versions.map((it) => it.schemaVersion), [1, 2, 3, 4, 5, 6, 7, 8]);
  const version = await events.schemas("Messaging.MessageStatus").versions(2).fetch();
  assert.ok(version.schemaVersion === 2 && version.raw.startsWith("http"));
}

async function errors(url, accountSid, authToken, events, sink) {
  await refused(400, 91006, () => events.sinks("DG1").fetch());
  await refused(404, 91001, () => events.sinks("DG" + "0".repeat(32)).fetch());
  await refused(404, 91102, () => events.subscriptions("DF" + "0".repeat(32)).fetch());
  await refused(404, 91202, () => events.eventTypes("com.example.unknown").fetch());
  await refused(400, 91103, () => events.subscriptions.create({ description: "d", sinkSid: sink.sid, types: [] }));
  const unknown = [{ type: "com.example.unknown" }];
  await refused(400, 91104, () => events.subscriptions.create({ description: "d", sinkSid: sink.sid, types: unknown }));
  await refused(401, 20003, () => clientOf(url, accountSid, "wrong").events.v1.sinks(sink.sid).fetch());
  await refused(400, 91007, () => events.sinks(sink.sid).remove());
}

async function subaccounts(url, client) {
  const { accounts } = client.api.v2010;
  const own = await accounts(client.accountSid).fetch();
  assert.deepEqual([own.sid, own.ownerAccountSid, own.status], [client.accountSid, client.accountSid, "active"]);
  const child = await accounts.create({ friendlyName: "child" });
  assert.match(child.sid, /^AC[0-9a-f]{32}$/);
  assert.deepEqual([child.ownerAccountSid, child.friendlyName, child.type], [own.sid, "child", "Full"]);
  assert.ok(child.dateCreated instanceof Date && !Number.isNaN(child.dateCreated.getTime()));
  const made = [child.sid];
  for (let n = 0; n < 4; n += 1) made.push((await accounts.create({ friendlyName: `child ${n}` })).sid);
  const all = [own.sid, ...made].sort();
  for (const options of [{}, { pageSize: 2 }, { pageSize: 1000 }]) {
    assert.deepEqual(sids(await accounts.list(options)), all);
  }
  assert.deepEqual(sids(await accounts.list({ friendlyName: "child 2" })), [made[3]]);
  const second = await (await accounts.page({ pageSize: 2 })).nextPage();
  assert.deepEqual(sids(second.instances), all.slice(2, 4));
  assert.deepEqual(sids((await second.previousPage()).instances), all.slice(0, 2));
  assert.equal((await accounts(child.sid).update({ friendlyName: "renamed" })).friendlyName, "renamed");
  await refused(404, 20404, () => accounts("AC" + "9".repeat(32)).fetch());

  const theirs = clientOf(url, child.sid, child.authToken);
  assert.deepEqual(sids(await theirs.api.v2010.accounts.list()), [child.sid]);
  for (const other of [own.sid, made[1]]) {
    await refused(404, 20404, () => theirs.api.v2010.accounts(other).fetch());
  }
  await refused(403, 20006, () => theirs.api.v2010.accounts.create({ friendlyName: "grandchild" }));
  await refused(403, 20006, () => theirs.api.v2010.accounts(child.sid).update({ status: "closed" }));
  const sink = await theirs.events.v1.sinks.create({ description: "theirs", sinkConfiguration: WEBHOOK, sinkType: "webhook" });
  await refused(404, 91001, () => client.events.v1.sinks(sink.sid).fetch());
  return { theirs, sink, siblings: made.slice(1) };
}

async function keys(url, client, childSid) {
  const ofChild = client.api.v2010.accounts(childSid);
  const made = await ofChild.newKeys.create({ friendlyName: "first" });
  assert.match(made.sid, /^SK[0-9a-f]{32}$/);
  const byKey = twilio(made.sid, made.secret, { accountSid: childSid });
  byKey.events.baseUrl = url;
  byKey.api.baseUrl = url;
  assert.equal((await byKey.events.v1.sinks.list()).length, 1);
  await refused(403, 20006, () => byKey.api.v2010.accounts(childSid).fetch());
  assert.equal((await ofChild.keys(made.sid).fetch()).friendlyName, "first");
  assert.equal((await ofChild.keys(made.sid).update({ friendlyName: "last" })).friendlyName, "last");
  const others = [];
  for (let n = 0; n < 4; n += 1) others.push((await ofChild.newKeys.create({ friendlyName: `${n}` })).sid);
  assert.deepEqual(sids(await ofChild.keys.list({ pageSize: 2 })), [made.sid, ...others]);
  for (const sid of [made.sid, ...others]) assert.equal(await ofChild.keys(sid).remove(), true);
  await refused(404, 20404, () => ofChild.keys(made.sid).fetch());
  await refused(401, 20003, () => byKey.events.v1.sinks("DG" + "0".repeat(32)).fetch());
}

async function rotation(url, theirs, sink) {
  const { secondaryAuthToken, authTokenPromotion } = theirs.accounts.v1;
  await refused(404, 20404, () => authTokenPromotion().update());
  await secondaryAuthToken().create();
  assert.equal(await secondaryAuthToken().remove(), true);
  const second = await secondaryAuthToken().create();
  assert.equal(second.accountSid, theirs.accountSid);
  await refused(409, 20409, () => secondaryAuthToken().create());
  const bySecond = clientOf(url, theirs.accountSid, second.secondaryAuthToken);
  for (const client of [theirs, bySecond]) assert.equal((await client.events.v1.sinks(sink.sid).fetch()).sid, sink.sid);
  const promoted = await bySecond.accounts.v1.authTokenPromotion().update();
  assert.equal(promoted.authToken, second.secondaryAuthToken);
  assert.equal((await bySecond.events.v1.sinks(sink.sid).fetch()).sid, sink.sid);
  await refused(401, 20003, () => theirs.events.v1.sinks(sink.sid).fetch());
  return bySecond;
}

async function statuses(client, theirs, sink, siblings) {
  const child = client.api.v2010.accounts(theirs.accountSid);
  assert.equal((await child.update({ status: "suspended" })).status, "suspended");
  await refused(403, 20005, () => theirs.events.v1.sinks(sink.sid).fetch());
  assert.deepEqual(sids(await client.api.v2010.accounts.list({ status: "suspended" })), [theirs.accountSid]);
  assert.equal((await child.update({ status: "active" })).status, "active");
  assert.equal((await theirs.events.v1.sinks(sink.sid).fetch()).sid, sink.sid);
  for (const sid of [theirs.accountSid, ...siblings]) {
    assert.equal((await client.api.v2010.accounts(sid).update({ status: "closed" })).status, "closed");
  }
  await refused(403, 20005, () => theirs.events.v1.sinks(sink.sid).fetch());
  await refused(403, 20005, () => child.update({ status: "active" }));
  assert.deepEqual(sids(await client.api.v2010.accounts.list({ status: "active" })), [client.accountSid]);
}

async function main(url, accountSid, authToken) {
  const client = clientOf(url, accountSid, authToken);
  const family = await subaccounts(url, client);
  await keys(url, client, family.theirs.accountSid);
  const theirs = await rotation(url, family.theirs, family.sink);
  await statuses(client, theirs, family.sink, family.siblings);
  const events = client.events.v1;
  const sink = await sinks(events);
  await sinkPages(events, sink);
  const subscription = await subscriptions(events, sink);
  await catalogue(events);
  await errors(url, accountSid, authToken, events, sink);
  assert.equal(await events.subscriptions(subscription.sid).remove(), true);
  await refused(404, 91102, () => events.subscriptions(subscription.sid).fetch());
  assert.equal(await events.sinks(sink.sid).remove(), true);
  assert.deepEqual(await events.sinks.list(), []);
  console.log("all as expected");
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
