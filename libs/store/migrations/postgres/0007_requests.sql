-- Requests that are done once however often they are asked: what they were answered, for a day.

CREATE TABLE requests (
    caller  TEXT COLLATE "C" NOT NULL, -- whose credentials
    id      TEXT COLLATE "C" NOT NULL, -- chosen by the caller
    digest  BYTEA NOT NULL,            -- SHA-256 of what was asked
    seq     BIGINT NOT NULL,           -- of the change it made
    sealed  BYTEA NOT NULL,            -- the answer
    created BIGINT NOT NULL,
    PRIMARY KEY (caller, id)
);
CREATE INDEX requests_by_time ON requests (created);
