-- Requests that are done once however often they are asked: what they were answered, for a day.

CREATE TABLE requests (
    caller  TEXT NOT NULL, -- whose credentials
    id      TEXT NOT NULL, -- chosen by the caller
    digest  BLOB NOT NULL,            -- SHA-256 of what was asked
    seq     BIGINT NOT NULL,           -- of the change it made
    sealed  BLOB NOT NULL,            -- the answer
    created BIGINT NOT NULL,
    PRIMARY KEY (caller, id)
);
CREATE INDEX requests_by_time ON requests (created);
