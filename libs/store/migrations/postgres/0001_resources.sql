-- Accounts and their resources, the catalogue, and the change log.
-- Times are milliseconds since the Unix epoch. `sealed` is what the keyring sealed, for this row alone.

CREATE TABLE meta (
    one               BIGINT PRIMARY KEY CHECK (one = 1),
    epoch             BIGINT NOT NULL CHECK (epoch <> 0), -- 64 random bits: tells this database from a restored one
    seq               BIGINT NOT NULL DEFAULT 0,          -- of the last change
    compacted_through BIGINT NOT NULL DEFAULT 0           -- changes up to this one are no longer in the log
);

CREATE TABLE changes (
    seq     BIGINT PRIMARY KEY,
    at      BIGINT NOT NULL DEFAULT ((extract(epoch FROM clock_timestamp()) * 1000)::BIGINT),
    kind    TEXT NOT NULL,
    key     TEXT NOT NULL,
    account TEXT,
    sealed  BYTEA NOT NULL -- what changed, as the change left it
);

CREATE TABLE accounts (
    sid           TEXT COLLATE "C" PRIMARY KEY,
    parent        TEXT COLLATE "C" REFERENCES accounts (sid),
    friendly_name TEXT NOT NULL,
    status        TEXT NOT NULL,
    sealed        BYTEA NOT NULL, -- auth token
    created       BIGINT NOT NULL,
    updated       BIGINT NOT NULL
);

CREATE TABLE api_keys (
    sid           TEXT COLLATE "C" PRIMARY KEY,
    account       TEXT COLLATE "C" NOT NULL REFERENCES accounts (sid),
    friendly_name TEXT NOT NULL,
    secret_hash   BYTEA NOT NULL, -- SHA-256
    created       BIGINT NOT NULL
);
CREATE INDEX api_keys_of_account ON api_keys (account, sid);

CREATE TABLE sinks (
    sid         TEXT COLLATE "C" PRIMARY KEY,
    account     TEXT COLLATE "C" NOT NULL REFERENCES accounts (sid),
    description TEXT NOT NULL,
    sink_type   TEXT NOT NULL,
    status      TEXT NOT NULL,
    sealed      BYTEA, -- configuration and signing secret; a tombstone has none
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL,
    deleted     BIGINT -- a tombstone since then
);
CREATE INDEX sinks_of_account ON sinks (account, sid) WHERE deleted IS NULL;
CREATE INDEX sinks_deleted ON sinks (deleted) WHERE deleted IS NOT NULL;

CREATE TABLE subscriptions (
    sid         TEXT COLLATE "C" PRIMARY KEY,
    account     TEXT COLLATE "C" NOT NULL REFERENCES accounts (sid),
    description TEXT NOT NULL,
    sink        TEXT COLLATE "C" NOT NULL REFERENCES sinks (sid),
    types       TEXT NOT NULL, -- JSON: [{"event_type": …, "schema_version": …}, …], sorted by event_type
    created     BIGINT NOT NULL,
    updated     BIGINT NOT NULL
);
CREATE INDEX subscriptions_of_account ON subscriptions (account, sid);
CREATE INDEX subscriptions_of_sink ON subscriptions (sink);

CREATE TABLE event_types (
    name              TEXT COLLATE "C" PRIMARY KEY,
    schema_id         TEXT COLLATE "C" NOT NULL,
    description       TEXT NOT NULL,
    status            TEXT NOT NULL,
    documentation_url TEXT,
    created           BIGINT NOT NULL,
    updated           BIGINT NOT NULL
);
CREATE INDEX event_types_of_schema ON event_types (schema_id, name);

CREATE TABLE schema_versions (
    schema_id TEXT COLLATE "C" NOT NULL,
    version   BIGINT NOT NULL CHECK (version > 0),
    document  TEXT, -- JSON Schema; none: the fields are not known
    created   BIGINT NOT NULL,
    PRIMARY KEY (schema_id, version)
);
