-- Rotation of auth tokens, restricted API keys, subscriptions to subaccounts' events.

ALTER TABLE accounts ADD COLUMN sealed_secondary BLOB; -- secondary auth token and its date; none: no rotation is under way
CREATE INDEX accounts_of_parent ON accounts (parent, sid) WHERE parent IS NOT NULL;

ALTER TABLE api_keys ADD COLUMN access TEXT NOT NULL DEFAULT 'main'; -- what the key may do
ALTER TABLE api_keys ADD COLUMN updated BIGINT NOT NULL DEFAULT 0;   -- 0: never since it was made

ALTER TABLE subscriptions ADD COLUMN include_subaccounts BIGINT NOT NULL DEFAULT 0; -- 1: takes subaccounts' events too
