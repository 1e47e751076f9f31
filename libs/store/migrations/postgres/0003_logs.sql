-- What became of events: attempts, problems, drops; and what is told of them.
-- `day` is the day of the report (days since the epoch, UTC); a table for each day is made ahead and dropped when its time is over, by
-- control-plane. There is no default partition. `id`: 48 bits of time, then a hash of where the report stood, so that a
-- report that is read again is the same row. SIDs are their 16 bytes; times are milliseconds since the epoch.

CREATE TABLE delivery_attempts (
    day         INT NOT NULL,
    id          BYTEA NOT NULL,
    account     BYTEA NOT NULL,
    sink        BYTEA NOT NULL,
    duration_ms BIGINT NOT NULL,
    outcome     INT NOT NULL,
    http_status INT NOT NULL,
    error_code  INT NOT NULL,
    attempt     BIGINT NOT NULL,
    detail      TEXT NOT NULL,
    event_ids   TEXT[] NOT NULL,
    PRIMARY KEY (account, sink, id, day)
) PARTITION BY RANGE (day);

CREATE TABLE error_logs (
    day         INT NOT NULL,
    id          BYTEA NOT NULL,
    account     BYTEA NOT NULL,
    sink        BYTEA NOT NULL,
    error_code  INT NOT NULL,
    http_status INT NOT NULL,
    attempt     BIGINT NOT NULL,
    detail      TEXT NOT NULL,
    event_ids   TEXT[] NOT NULL,
    PRIMARY KEY (account, id, day)
) PARTITION BY RANGE (day);

CREATE TABLE dropped_events (
    day            INT NOT NULL,
    id             BYTEA NOT NULL,
    account        BYTEA NOT NULL,
    sink           BYTEA NOT NULL,
    event_id       TEXT NOT NULL,
    event_type     TEXT NOT NULL,
    accepted       BIGINT NOT NULL,
    reason         INT NOT NULL,
    error_code     INT NOT NULL,
    schema_version BIGINT NOT NULL,
    size           BIGINT NOT NULL, -- of the event, in bytes
    event          BYTEA,           -- NULL: no longer kept, for the account's quota
    resent         BIGINT,          -- when it was last sent again
    PRIMARY KEY (account, sink, id, day)
) PARTITION BY RANGE (day);

-- Problems of a sink with one code, counted from the first to a quiet time: when the account is told.
CREATE TABLE error_groups (
    sink    BYTEA NOT NULL,
    code    INT NOT NULL,
    account BYTEA NOT NULL,
    count   BIGINT NOT NULL,
    told    BIGINT NOT NULL, -- the count at the last telling
    told_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (sink, code)
);

-- Sinks whose breaker opened and has not closed since.
CREATE TABLE failing_sinks (
    sink    BYTEA PRIMARY KEY,
    account BYTEA NOT NULL,
    since   BIGINT NOT NULL
);
