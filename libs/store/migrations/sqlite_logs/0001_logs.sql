-- What became of events, as in Postgres; days are told apart by their column, and the ids of a request's events are one text.

CREATE TABLE delivery_attempts (
    day         INTEGER NOT NULL,
    id          BLOB NOT NULL,
    account     BLOB NOT NULL,
    sink        BLOB NOT NULL,
    duration_ms INTEGER NOT NULL,
    outcome     INTEGER NOT NULL,
    http_status INTEGER NOT NULL,
    error_code  INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    detail      TEXT NOT NULL,
    event_ids   TEXT NOT NULL,
    PRIMARY KEY (account, sink, id, day)
);
CREATE INDEX delivery_attempts_by_day ON delivery_attempts (day);

CREATE TABLE error_logs (
    day         INTEGER NOT NULL,
    id          BLOB NOT NULL,
    account     BLOB NOT NULL,
    sink        BLOB NOT NULL,
    error_code  INTEGER NOT NULL,
    http_status INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    detail      TEXT NOT NULL,
    event_ids   TEXT NOT NULL,
    PRIMARY KEY (account, id, day)
);
CREATE INDEX error_logs_by_day ON error_logs (day);

CREATE TABLE dropped_events (
    day            INTEGER NOT NULL,
    id             BLOB NOT NULL,
    account        BLOB NOT NULL,
    sink           BLOB NOT NULL,
    event_id       TEXT NOT NULL,
    event_type     TEXT NOT NULL,
    accepted       INTEGER NOT NULL,
    reason         INTEGER NOT NULL,
    error_code     INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    size           INTEGER NOT NULL, -- of the event, in bytes
    event          BLOB,           -- NULL: no longer kept, for the account's quota
    resent         INTEGER,          -- when it was last sent again
    PRIMARY KEY (account, sink, id, day)
);
CREATE INDEX dropped_events_by_day ON dropped_events (day);

-- Problems of a sink with one code, counted from the first to a quiet time: when the account is told.
CREATE TABLE error_groups (
    sink    BLOB NOT NULL,
    code    INTEGER NOT NULL,
    account BLOB NOT NULL,
    count   INTEGER NOT NULL,
    told    INTEGER NOT NULL, -- the count at the last telling
    told_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (sink, code)
);

-- Sinks whose breaker opened and has not closed since.
CREATE TABLE failing_sinks (
    sink    BLOB PRIMARY KEY,
    account BLOB NOT NULL,
    since   INTEGER NOT NULL
);
